"""The standard streams of the command line: what is printed, and data through pipes."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Set
from typing import TYPE_CHECKING, Any, TextIO

from tcnn_codec.errors import CodecError

if TYPE_CHECKING:
    from tcnn_codec.io import Pipe

#: In the place of a file's name: standard input or output.
DASH = "-"


def input_pipe() -> Pipe:
    """Standard input as bytes. Raises CodecError where it is closed or a terminal."""
    from tcnn_codec.io import Pipe

    if not hasattr(sys.stdin, "buffer"):
        raise CodecError("standard input is closed", remedy="pipe a file into it, or name one")
    if sys.stdin.isatty():
        raise CodecError("standard input is a terminal", remedy="pipe a file into it, or name one")
    return Pipe(sys.stdin.buffer, DASH)


def output_pipe() -> Pipe:
    """Standard output as bytes. Raises CodecError where it is closed or a terminal."""
    from tcnn_codec.io import Pipe

    # The name is that of what __main__ puts in the place of a closed one.
    if getattr(sys.stdout, "name", os.devnull) == os.devnull:
        raise CodecError("standard output is closed", remedy="redirect it, or name a file")
    if sys.stdout.isatty():
        raise CodecError(
            "standard output is a terminal, and what would go there is no text",
            remedy="redirect it, or name a file",
        )
    # Without a buffer, of which Python would write the rest again when it exits.
    return Pipe(open(sys.stdout.fileno(), "wb", buffering=0, closefd=False), DASH)


def print_json(facts: Any, out: TextIO | None = None) -> None:
    print_line(json.dumps(facts, allow_nan=False), out)


def print_line(text: str, out: TextIO | None = None) -> None:
    """A line on stdout or `out`, now.

    Raises BrokenPipeError, and CodecError where the disk is full.
    """
    out = out or sys.stdout
    try:
        print(text, file=out, flush=True)
    except OSError as error:
        # Else Python tries the rest again when it exits, and complains.
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())
        if isinstance(error, BrokenPipeError):
            raise
        name = "standard output" if out is sys.stdout else "standard error"
        raise CodecError(
            f"cannot write to {name}: {error.strerror}", remedy="send it somewhere else"
        ) from error


def flag(option: str) -> str:
    """Of an option as Python names it."""
    return "--" + option.rstrip("_").replace("_", "-")


def with_flags(text: str, known: Set[str]) -> str:
    """An error's text with options, in backquotes there, named as they are here.

    known: the options of every command, as Python names them. What stands in quotes is a user's, a
    file's name for instance, and stays as it is.
    """

    def named(found: re.Match[str]) -> str:
        return flag(found[1]) if found[1] in known else found[0]

    return re.sub(r"(?<!\w)'[^']*'(?!\w)|`(\w+)`", named, text)


def one_line(text: str) -> str:
    """File names may hold line breaks and terminal codes: shown, not obeyed."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def decibels(value: float) -> str:
    return "exact" if value == float("inf") else f"{value:.2f} dB"
