"""`python -m tcnn_codec`."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

#: Asked to end, and left by its terminal; an interrupt is Python's own KeyboardInterrupt.
_ENDINGS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


def main() -> int:
    from tcnn_codec.cli import run

    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by whoever started this program
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        else:
            stream.reconfigure(errors="backslashreplace")  # file names need not be text
    for number in _ENDINGS:
        # One that is ignored already is so on purpose, as nohup does with SIGHUP.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _leave)
    return run(sys.argv[1:])


def _leave(number: int, frame: FrameType | None) -> None:
    """Leave through every context manager, so that no temporary file stays behind."""
    for each in (signal.SIGINT, *_ENDINGS):  # another one would interrupt the cleaning up
        signal.signal(each, signal.SIG_IGN)
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
