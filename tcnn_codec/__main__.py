"""`python -m tcnn_codec`."""

from __future__ import annotations

import os
import signal
import sys


def main() -> int:
    from tcnn_codec.cli import run

    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by whoever started this program
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        else:
            stream.reconfigure(errors="backslashreplace")  # file names need not be text
    # Leaves through every context manager, so no temporary file stays behind.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
