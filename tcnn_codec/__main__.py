"""`python -m tcnn_codec`."""

from __future__ import annotations

import sys


def main() -> int:
    from tcnn_codec.cli import run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
