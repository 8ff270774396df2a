"""Progress of an encode, for a person at a terminal or for a log."""

from __future__ import annotations

import math
import time
from typing import TextIO

TERMINAL_SECONDS, LOG_SECONDS = 0.2, 10.0


class ProgressLine:
    """One line that is redrawn on a terminal; elsewhere a plain line now and then.

    Call it as encoding.coding.Progress.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._terminal = out.isatty()
        self._start = self._last = self._shown = time.monotonic()
        self._first = self._done = 0.0
        self._drawn = 0

    def __call__(self, chunk: int, chunks: int, step: int, steps: int, psnr_db: float) -> None:
        now = time.monotonic()
        done = (chunk + step / steps) / chunks
        if done < self._done:  # another pass over the source, a fit or a coding
            self._start, self._first = self._last, done
        self._done, self._last = done, now
        if now - self._shown < (TERMINAL_SECONDS if self._terminal else LOG_SECONDS):
            return
        self._shown = now
        share = done - self._first
        seconds = (now - self._start) * (1 - done) / share if share else None
        text = describe(chunk, chunks, step, steps, psnr_db, seconds)
        if self._terminal:
            self._out.write("\r" + text.ljust(self._drawn))
            self._drawn = len(text)
        else:
            self._out.write(text + "\n")
        self._out.flush()

    def close(self) -> None:
        """Wipe the line, so that what follows starts on a clean one."""
        if self._drawn:
            self._out.write("\r" + " " * self._drawn + "\r")
            self._out.flush()
            self._drawn = 0


def describe(
    chunk: int, chunks: int, step: int, steps: int, psnr_db: float, seconds: float | None
) -> str:
    """One line: where this pass over the source stands, and how many seconds it has left."""
    parts = [f"step {step}/{steps}", f"{psnr_db:.2f} dB" if math.isfinite(psnr_db) else "exact"]
    if chunks != 1:
        parts.insert(0, f"chunk {chunk + 1}/{chunks}")
    if seconds is not None:
        parts.append(f"ETA {seconds:.0f} s")
    return "  ".join(parts)
