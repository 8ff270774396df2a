"""For the tests of the command line: calls, what they print, and what they write."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from io_samples import ROOT, Pixels
from PIL import Image

from tcnn_codec.cli import run

#: Options of encode for a test that asks nothing of the quality, but that the network learns: after
#: fewer steps a single colour is better, and is what the encoder makes of it.
SMALL = ("--width", "8", "--steps", "200", "--quiet")


class Called(NamedTuple):
    """Exit status, and all that went to stdout and stderr."""

    status: int
    out: str
    err: str


class Terminal(io.StringIO):
    """A stderr that says it is a terminal."""

    def isatty(self) -> bool:
        return True

    def shown(self) -> list[str]:
        """The lines as a person sees them at the end, a carriage return starting a line anew."""
        lines = []
        for line in self.getvalue().split("\n"):
            cells: list[str] = []
            for part in line.split("\r"):
                cells[: len(part)] = part
            lines.append("".join(cells).rstrip())
        return lines


def call(*arguments: object, err: io.StringIO | None = None) -> Called:
    """Run `python -m tcnn_codec` with these arguments; err: what stands in for stderr."""
    out, err = io.StringIO(), err or io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            status = run([str(argument) for argument in arguments])
        except SystemExit as left:  # argparse leaves so after --help and --version
            status = int(left.code or 0)
    return Called(status, out.getvalue(), err.getvalue())


def succeeds(*arguments: object) -> Called:
    """The same, for a command that must exit 0."""
    called = call(*arguments)
    assert called.status == 0, called.err
    return called


def report(*arguments: object) -> dict[str, Any]:
    """The one JSON object that the command prints."""
    out = succeeds(*arguments, "--json").out
    assert out.count("\n") == 1
    found = json.loads(out)
    assert isinstance(found, dict)
    return found


def save(path: Path, pixels: Pixels) -> Path:
    """Write uint8 [height, width, 1|3|4] by the extension of `path`, which is returned."""
    Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels).save(path)
    return path


def decoded(stream: Path, *options: object) -> Pixels:
    """The pixels that decode writes, as an array."""
    out = stream.with_suffix(".npy")
    assert succeeds("decode", stream, out, *options).out == ""
    found: Pixels = np.load(out)
    assert found.dtype == np.uint8
    return found


def assert_refusal(called: Called) -> None:
    """Status 2, and one line on stderr alone."""
    assert (called.status, called.out) == (2, "")
    assert called.err.startswith("error: ")
    assert called.err.count("\n") == 1
    assert called.err.endswith("\n")
    assert "\r" not in called.err


def run_process(
    *arguments: object, before: str = "", timeout: float = 60, **options: Any
) -> Called:
    """`python -m tcnn_codec` in a process of its own, its stdout buffered as users have it.

    before: code to run in it first. options: those of subprocess.run.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8:strict"}
    environment.pop("PYTHONUNBUFFERED", None)
    code = f"{before}\nimport sys\nfrom tcnn_codec.__main__ import main\nsys.exit(main())"
    start = ["-c", code] if before else ["-m", "tcnn_codec"]
    command = [sys.executable, *start, *map(str, arguments)]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    done = subprocess.run(command, env=environment, timeout=timeout, **streams)
    return Called(done.returncode, (done.stdout or b"").decode(), (done.stderr or b"").decode())
