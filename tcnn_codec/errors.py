"""Errors a user can cause; the command line prints each as one line and exits 2."""

from __future__ import annotations


class CodecError(ValueError):
    """Bad input or usage, in three parts of one line: the value, what is allowed, the remedy.

    Options are named as in Python and stand in backquotes, so that whoever shows the error can
    name them otherwise. `remedy` is for whoever made the input.
    """

    def __init__(self, value: str, allowed: str = "", remedy: str = "") -> None:
        super().__init__(value, allowed, remedy)
        self.value, self.allowed, self.remedy = value, allowed, remedy

    def __str__(self) -> str:
        return "; ".join(part for part in (self.value, self.allowed, self.remedy) if part)


class BitstreamError(CodecError):
    """A .tcnn stream that is damaged, truncated, too new, or not one at all."""


class BackendUnavailable(CodecError):
    """A backend or instruction set that this machine or installation cannot run."""
