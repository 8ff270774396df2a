"""Backends: ways to compute a SIREN. Each is imported only when it is asked for."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from tcnn_codec.errors import BackendUnavailable, CodecError

if TYPE_CHECKING:
    from tcnn_codec.families.siren.backends.base import Backend

#: Of the products in training, by backend.
PRECISIONS_OF = {
    "cpu": ("float32", "bfloat16"),
    "cuda": ("float16",),
    "tinycudann": ("float16",),
    "torch": ("float32",),
}


def create(name: str = "auto", threads: int = 0, precision: str = "float32") -> Backend:
    """The backend called `name`, of PRECISIONS_OF, or for 'auto' the fastest of ours that there is.

    threads: of the cpu; 0 takes every core. precision: of the products in training, 'float32',
    'bfloat16', 'float16' or 'auto', which is whichever is faster. Raises
    BackendUnavailable where it cannot run here, CodecError for another name or precision.
    """
    if name == "auto":
        if precision in ("auto", "float16") and _gpu_is_there():
            try:
                return create("cuda", threads, precision)
            except BackendUnavailable:
                if precision == "float16":
                    raise
        if precision == "float16":
            raise BackendUnavailable(
                "`precision` is 'float16', which only the backend cuda has",
                "no GPU, or no module _cuda, was found",
                "leave `precision` out",
            )
        name = "cpu"
    if name not in PRECISIONS_OF:
        raise CodecError(
            f"`backend` is '{name}'",
            f"allowed are auto, {', '.join(PRECISIONS_OF)}",
            "leave it out for auto",
        )
    if precision not in ("auto", *PRECISIONS_OF[name]):
        allowed = ", ".join(("auto", *PRECISIONS_OF[name]))
        raise BackendUnavailable(
            f"`backend` '{name}' has no {precision}",
            f"allowed are {allowed}",
            "leave `precision` out, or choose another `backend`",
        )
    if name != "cpu" and find_spec("torch") is None:
        raise BackendUnavailable(
            f"`backend` '{name}' keeps its arrays in torch, which is not installed",
            remedy="install it with: pip install torch, or choose `backend` cpu",
        )
    if name == "cuda":
        from tcnn_codec.families.siren.backends.cuda import CudaBackend

        return CudaBackend()
    if name == "tinycudann":
        from tcnn_codec.families.siren.backends.tinycudann import TinycudannBackend

        return TinycudannBackend()
    if name == "cpu":
        from tcnn_codec.families.siren.backends.cpu import CpuBackend

        return CpuBackend(threads, precision=precision)
    from tcnn_codec.families.siren.backends.reference import ReferenceBackend

    return ReferenceBackend(threads=threads)


def _gpu_is_there() -> bool:
    """Asked of the native module, since the backend loads torch."""
    try:
        from tcnn_codec import _cuda
    except ImportError:
        return False
    return _cuda.device_count() > 0
