"""Inputs and outputs that are no paths: bytes in memory and binary file objects."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from tcnn_codec.checks import shown
from tcnn_codec.errors import CodecError

_PIECE = 1 << 20  # bytes


@dataclass(frozen=True)
class Pipe:
    """A binary file object that is open, and what errors call it.

    It is read from where it stands to its end, or written to from there; it need not be seekable,
    and is not closed.
    """

    file: BinaryIO
    name: str

    def __str__(self) -> str:
        return self.name

    def pieces(self) -> Iterator[bytes]:
        """All that is left to read. Raises CodecError."""
        while piece := self._read():
            yield piece

    def write(self, data: bytes) -> None:
        """Write all of it, now. Raises CodecError, and BrokenPipeError where nobody reads on."""
        try:
            if isinstance(self.file, io.RawIOBase):
                _write_raw(self.file, data)
            else:
                self.file.write(data)
            if hasattr(self.file, "flush"):
                self.file.flush()
        except BrokenPipeError:
            raise
        except (OSError, ValueError) as error:  # ValueError: it was closed meanwhile
            raise CodecError(
                f"cannot write to '{self}': {_reason(error)}", remedy="send it somewhere else"
            ) from error

    def _read(self) -> bytes:
        try:
            piece = self.file.read(_PIECE)
        except (OSError, ValueError) as error:
            raise CodecError(
                f"cannot read '{self}': {_reason(error)}", remedy="hand in an open file"
            ) from error
        if not isinstance(piece, (bytes, bytearray, memoryview)):
            # None comes of a file that does not wait for what it has not got yet.
            raise CodecError(
                f"cannot read '{self}': it gives {type(piece).__name__}",
                "allowed is a file that gives bytes",
                "open it as binary, and so that reading waits",
            )
        return bytes(piece)


#: Where a picture or a stream comes from, or goes.
Place = Path | Pipe


def input_place(value: Any) -> Place:
    """What a user hands in to be read: a path, bytes or a binary file object.

    Raises CodecError for anything else, and for a file that is closed or cannot be read.
    """
    if isinstance(value, (str, os.PathLike)):
        return _path(value)
    if hasattr(value, "read"):
        _check_mode(value, "readable", "rb")
        return Pipe(value, _name(value))
    try:
        return Pipe(io.BytesIO(memoryview(value)), "<bytes>")
    except (TypeError, BufferError):
        raise _no_place("input", value, "a path, bytes and a binary file object") from None


def output_place(value: Any) -> Place:
    """What a user names to be written: a path or a binary file object; else as `input_place`."""
    if isinstance(value, (str, os.PathLike)):
        return _path(value)
    if hasattr(value, "write"):
        _check_mode(value, "writable", "wb")
        return Pipe(value, _name(value))
    raise _no_place("output", value, "a path and a binary file object")


@contextmanager
def as_file(place: Place) -> Iterator[Path]:
    """The path of a file with the content of `place`, which errors in the block name.

    The readers need a file that they can open again. That of a pipe is removed in the end.
    Raises CodecError where it cannot be read or kept.
    """
    if isinstance(place, Path):
        yield place
        return
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="tcnn-"))
            path = Path(os.path.realpath(folder), "input")
            _keep(place, path)
        except OSError as error:
            raise CodecError(
                f"cannot keep '{place}' in a temporary file: {_reason(error)}",
                remedy="name a folder with room in TMPDIR",
            ) from error
        try:
            yield path
        except CodecError as error:
            parts = (error.value, error.allowed, error.remedy)
            renamed = (part.replace(str(path), str(place)) for part in parts)
            raise type(error)(*renamed) from error


def _write_raw(file: io.RawIOBase, data: bytes) -> None:
    """Of a file without a buffer, which may take less at a time."""
    rest = memoryview(data)
    while rest:
        count = file.write(rest)
        if count is None:
            raise BlockingIOError(0, "it is busy, and does not wait")
        rest = rest[count:]


def _keep(pipe: Pipe, path: Path) -> None:
    with path.open("wb") as file:
        for piece in pipe.pieces():
            file.write(piece)


def _path(value: str | os.PathLike[Any]) -> Path:
    text = os.fsdecode(value)
    try:
        possible = b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        possible = False
    if not possible:
        raise CodecError(
            f"{text!r} is no path", "allowed is text without zero bytes", "name a file"
        )
    return Path(text)


def _name(file: Any) -> str:
    name = getattr(file, "name", None)
    return name if isinstance(name, str) else "<file>"


def _check_mode(file: Any, ability: str, mode: str) -> None:
    """ability: "readable" or "writable". What is like a file and does not say is let pass."""
    wrong = ""
    if hasattr(file, "encoding"):
        wrong = "is opened as text"
    elif getattr(file, "closed", False):
        wrong = "is closed"
    elif not getattr(file, ability, lambda: True)():
        wrong = f"is not {ability}"
    if wrong:
        raise CodecError(
            f"'{_name(file)}' {wrong}", "allowed is an open binary file", f"open it with '{mode}'"
        )


def _no_place(what: str, value: Any, allowed: str) -> CodecError:
    return CodecError(
        f"the {what} is {shown(value, repr)} of type {type(value).__name__}",
        f"allowed are {allowed}",
        "hand in one of them",
    )


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or shown(error)
