"""`python -m tcnn_codec`."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType


def main() -> int:
    from tcnn_codec.cli import run

    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by whoever started this program
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        else:
            stream.reconfigure(errors="backslashreplace")  # file names need not be text
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        # One that is ignored already is so on purpose, as nohup does with SIGHUP.
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _leave)
    return run(sys.argv[1:])


def _leave(number: int, frame: FrameType | None) -> None:
    """Leave through every context manager, so that no temporary file stays behind."""
    signal.signal(number, signal.SIG_IGN)  # a second one would interrupt the cleaning up
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
