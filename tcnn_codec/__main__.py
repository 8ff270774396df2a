"""`python -m tcnn_codec`."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

#: Interrupted, asked to end, and left by its terminal.
_ENDINGS = [getattr(signal, n) for n in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, n)]


def main() -> int:
    from tcnn_codec.cli import run

    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by whoever started this program
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        else:
            stream.reconfigure(errors="backslashreplace")  # file names need not be text
    stopped_by: list[int] = []

    def leave(number: int, frame: FrameType | None) -> None:
        """Leave through every context manager, so that no temporary file stays behind."""
        stopped_by.append(number)
        for each in _ENDINGS:  # another one would interrupt the cleaning up
            signal.signal(each, signal.SIG_IGN)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        sys.exit(128 + number)

    for number in _ENDINGS:
        # One that is ignored already is so on purpose, as nohup does with SIGHUP.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, leave)
    try:
        return run(sys.argv[1:])
    except SystemExit:
        raise
    except BaseException:
        # A library in whose code the signal arrived may have made another exception of it.
        if not stopped_by:
            raise
        return 128 + stopped_by[0]


if __name__ == "__main__":
    sys.exit(main())
