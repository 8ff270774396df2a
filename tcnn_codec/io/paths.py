"""Output paths: early checks, and files that appear complete or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tcnn_codec.errors import CodecError

# Failures of the disk and not of the code that writes: these are the user's to mend.
_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}


def check_output(path: Path, *, reads: Path | None = None) -> None:
    """Raise CodecError where a file cannot be written to `path`; call it before any long work.

    Refused: a missing or unwritable parent folder, a folder or a device in the file's place,
    an impossible name, and a path that is the same file as `reads`, the input.
    """
    _check_place(path, reads)
    if os.path.lexists(path) and not os.path.isfile(path):
        what = "a folder" if os.path.isdir(path) else "no regular file"
        raise CodecError(f"cannot write '{path}': it is {what}", remedy="name a file")


def check_output_folder(path: Path, *, reads: Path | None = None) -> None:
    """As `check_output`, for a folder of frames: it must be absent or empty."""
    _check_place(path, reads)
    if os.path.lexists(path) and not os.path.isdir(path):
        raise CodecError(
            f"cannot write frames to '{path}': it is a file and not a folder",
            remedy="name a new folder, or give the file an extension",
        )
    if os.path.isdir(path):
        try:
            occupied = bool(os.listdir(path))
        except OSError as error:
            raise _cannot_write(path, error) from error
        if occupied:
            raise CodecError(
                f"folder '{path}' is not empty: its files would be lost",
                remedy="name a new or empty folder, or empty this one",
            )


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path, in the folder of `path`, that becomes `path` on a clean exit.

    The temporary exists, empty, on entry. On a clean exit it is flushed to the disk, renamed
    (replacing any older file, whose rights it takes) and the folder is flushed; on any exception
    it is removed and `path` stays as it was. A symbolic link is followed, so the link itself
    stays. Raises CodecError where the folder cannot be written or the disk is full.
    """
    target = _final(path)
    temporary = _temporary(target)
    # What replaces a private file is never readable for others, not even while it is written.
    rights = 0o600 if target.exists() else 0o666
    try:  # before it exists: a signal may arrive at any time
        try:
            os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, rights))
        except OSError as error:
            raise _cannot_write(path, error) from error
        with _disk_errors(path):
            yield temporary
        _publish(temporary, target, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """As `atomic_path`, for a folder that is absent or empty.

    The caller flushes the files that it writes in it.
    """
    target = _final(path)
    temporary = _temporary(target)
    rights = 0o700 if target.exists() else 0o777
    try:
        try:
            temporary.mkdir(rights)
        except OSError as error:
            raise _cannot_write(path, error) from error
        with _disk_errors(path):
            yield temporary
        _publish(temporary, target, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _check_place(path: Path, reads: Path | None) -> None:
    _final(path)
    parent = path.parent
    if not os.path.isdir(parent):
        what = "is not a folder" if os.path.lexists(parent) else "does not exist"
        raise CodecError(
            f"cannot write '{path}': folder '{parent}' {what}", remedy="create it first"
        )
    if not os.access(parent, os.W_OK | os.X_OK):
        raise CodecError(
            f"cannot write '{path}': folder '{parent}' is not writable",
            remedy="choose another folder",
        )
    try:
        os.lstat(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise _cannot_write(path, error) from error
    if reads is None or not os.path.exists(path) or not os.path.exists(reads):
        return
    if os.path.samefile(path, reads):
        raise CodecError(
            f"output '{path}' is the input itself", remedy="choose another output name"
        )


def _temporary(target: Path) -> Path:
    # Short and random: a long final name must not overflow the 255 bytes of a file name.
    return target.parent / f".tcnn-{os.urandom(8).hex()}{target.suffix[:16]}"


def _final(path: Path) -> Path:
    """`path` as an absolute path without symbolic links."""
    try:
        return Path(os.path.realpath(path))
    except OSError as error:  # the working folder of a relative path has been deleted
        raise _cannot_write(path, error) from error


def _publish(temporary: Path, target: Path, path: Path) -> None:
    try:
        if target.exists():
            _take_rights(target, temporary)
        flush(temporary)
        os.replace(temporary, target)
        flush(target.parent)
    except OSError as error:
        raise _cannot_write(path, error) from error


def _take_rights(old: Path, new: Path) -> None:
    """Give a file or folder the owner, if that may be done, and the mode of the one it replaces."""
    facts = old.stat()
    with suppress(OSError):  # only root may give a file away
        os.chown(new, facts.st_uid, facts.st_gid)
    os.chmod(new, stat.S_IMODE(facts.st_mode))


def flush(path: Path) -> None:
    """Wait until a file or a folder is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:
        # Some network and virtual file systems refuse to flush a folder.
        if not stat.S_ISDIR(os.fstat(handle).st_mode):
            raise
    finally:
        os.close(handle)


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK_ERRORS:
            raise
        raise _cannot_write(path, error) from error


def _cannot_write(path: Path, error: OSError) -> CodecError:
    reason = error.strerror or " ".join(str(error).split())
    if not path.is_absolute() and error.errno == errno.ENOENT:
        reason = "the working folder does not exist any more"
    return CodecError(f"cannot write '{path}': {reason}", remedy="choose another name or folder")
