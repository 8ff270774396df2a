"""What this machine and installation can do, and what to do about what they cannot."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from importlib.util import find_spec

from tcnn_codec import __version__
from tcnn_codec.errors import CodecError
from tcnn_codec.families import BACKENDS, make_fitter

LIBRARIES = (
    *("numpy", "torch", "pillow", "pillow-heif", "av", "decord"),
    "pytorch-msssim",
)


def examine() -> dict[str, dict[str, str]]:
    """Groups of name → state; an unavailable thing's state names the reason and the remedy."""
    return {
        "tcnn_codec": {
            "version": __version__,
            "python": platform.python_version(),
            "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        },
        "backends": {name: _backend(name) for name in BACKENDS if name != "auto"},
        "native modules": _native(),
        "libraries": {name: _library(name) for name in LIBRARIES},
    }


def _backend(name: str) -> str:
    try:
        fitter = make_fitter(backend=name)
        return f"available, {fitter.device}, fits in {fitter.precision}"
    except CodecError as error:
        return f"unavailable: {error}"
    except ImportError as error:
        return f"unavailable: {error}; reinstall with `pip install -e .`"


def _native() -> dict[str, str]:
    try:
        from tcnn_codec import _cpu
    except ImportError as error:
        return {"_cpu": f"unavailable: {error}; rebuild with `pip install -e .`"}
    available = _cpu.available_isas()
    states = {
        isa: "available" if isa in available else "unavailable: this processor or build lacks it"
        for isa in ("avx512", "avx2", "scalar")
    }
    why_not = _cpu.why_no_amx()
    states["amx"] = f"unavailable: {why_not}; fitting does without" if why_not else "available"
    states["bfloat16"] = (
        "available; by itself `--precision auto` takes it on AMD, where it is the faster one"
        if _cpu.has_bfloat16("avx512")
        else "unavailable: this processor or build lacks AVX512_BF16; fitting runs in float32"
    )
    states["decoding"] = f"available, {', '.join(_cpu.integer_isas())}"
    return {"compiler": _cpu.compiler, **states, "_cuda": _cuda()}


def _cuda() -> str:
    if find_spec("tcnn_codec._cuda") is None:
        return "not built; `TCNN_CODEC_CUDA=ON pip install -e .` where there is nvcc"
    try:
        from tcnn_codec import _cuda
    except ImportError as error:
        return f"unavailable: {error}; rebuild with `TCNN_CODEC_CUDA=ON pip install -e .`"
    count = _cuda.device_count()
    return f"available, {count} GPUs" if count else "available, but this process can use no GPU"


def _library(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return f"not installed; `pip install {name}`"
