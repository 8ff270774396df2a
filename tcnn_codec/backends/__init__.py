"""Backends: ways to compute a SIREN. Each is imported only when it is asked for."""

from __future__ import annotations

from tcnn_codec.backends.base import Backend
from tcnn_codec.config import check_precision
from tcnn_codec.errors import BackendUnavailable, CodecError


def create(name: str = "auto", threads: int = 0, precision: str = "float32") -> Backend:
    """The backend called `name`: 'auto' (the fastest there is), 'cpu' or 'torch'.

    threads: 0 takes every core. precision: of the products in training, 'float32', 'bfloat16' or
    'auto', which is bfloat16 where the backend has it. Raises BackendUnavailable where it cannot
    run here, CodecError for another name or precision.
    """
    check_precision(precision)
    if name in ("auto", "cpu"):
        from tcnn_codec.backends.cpu import CpuBackend

        return CpuBackend(threads, precision=precision)
    if name == "torch":
        from tcnn_codec.backends.reference import ReferenceBackend

        if precision == "bfloat16":
            raise BackendUnavailable(
                "backend 'torch' has no bfloat16; allowed are auto and float32; "
                "leave --precision out, or choose --backend cpu"
            )
        return ReferenceBackend(threads=threads)
    raise CodecError(f"backend is '{name}'; allowed are auto, cpu, torch; leave it out for auto")
