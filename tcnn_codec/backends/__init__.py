"""Backends: ways to compute a SIREN. Each is imported only when it is asked for."""

from __future__ import annotations

from tcnn_codec.backends.base import Backend
from tcnn_codec.config import check_precision
from tcnn_codec.errors import BackendUnavailable, CodecError

#: The precisions that a backend trains in.
TRAINS_IN = {
    "cpu": ("float32", "bfloat16"),
    "cuda": ("float16",),
    "torch": ("float32",),
}


def create(name: str = "auto", threads: int = 0, precision: str = "float32") -> Backend:
    """The backend called `name`: 'cpu', 'cuda', 'torch', or 'auto' for the fastest there is.

    threads: of the cpu; 0 takes every core. precision: of the products in training, 'float32',
    'bfloat16', 'float16' or 'auto', which is 16 bits where the backend has them. Raises
    BackendUnavailable where it cannot run here, CodecError for another name or precision.
    """
    check_precision(precision)
    if name == "auto":
        if precision in ("auto", "float16") and _gpu_is_there():
            try:
                return create("cuda", threads, precision)
            except BackendUnavailable:
                if precision == "float16":
                    raise
        name = "cuda" if precision == "float16" else "cpu"
    if name not in TRAINS_IN:
        raise CodecError(
            f"backend is '{name}'; allowed are auto, cpu, cuda, torch; leave it out for auto"
        )
    if precision not in ("auto", *TRAINS_IN[name]):
        allowed = ", ".join(("auto", *TRAINS_IN[name]))
        raise BackendUnavailable(
            f"backend '{name}' has no {precision}; allowed are {allowed}; "
            "leave --precision out, or choose another --backend"
        )
    if name == "cuda":
        from tcnn_codec.backends.cuda import CudaBackend

        return CudaBackend()
    if name == "cpu":
        from tcnn_codec.backends.cpu import CpuBackend

        return CpuBackend(threads, precision=precision)
    from tcnn_codec.backends.reference import ReferenceBackend

    return ReferenceBackend(threads=threads)


def _gpu_is_there() -> bool:
    """Asked of the native module, since the backend loads torch."""
    try:
        from tcnn_codec import _cuda
    except ImportError:
        return False
    return _cuda.device_count() > 0
