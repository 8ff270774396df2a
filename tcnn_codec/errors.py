"""Errors a user can cause; the command line prints each as one line and exits 2."""

from __future__ import annotations


class CodecError(ValueError):
    """Bad input or usage. The message is one line: the value, what is allowed, the remedy."""


class BitstreamError(CodecError):
    """A .tcnn stream that is damaged, truncated, too new, or not one at all."""


class BackendUnavailable(CodecError):
    """A backend or instruction set that this machine or installation cannot run."""
