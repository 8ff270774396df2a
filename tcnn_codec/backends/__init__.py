"""Backends: ways to compute a SIREN. Each is imported only when it is asked for."""

from __future__ import annotations

from tcnn_codec.backends.base import Backend
from tcnn_codec.errors import CodecError


def create(name: str = "auto", threads: int = 0) -> Backend:
    """The backend called `name`: 'auto' (the fastest there is), 'cpu' or 'torch'.

    threads: 0 takes every core. Raises BackendUnavailable where it cannot run here, CodecError
    for another name.
    """
    if name in ("auto", "cpu"):
        from tcnn_codec.backends.cpu import CpuBackend

        return CpuBackend(threads)
    if name == "torch":
        from tcnn_codec.backends.reference import ReferenceBackend

        return ReferenceBackend(threads=threads)
    raise CodecError(f"backend is '{name}'; allowed are auto, cpu, torch; leave it out for auto")
