"""What a user may choose about encoding; frozen, checked once, at the border."""

from __future__ import annotations

import numbers
import operator
from dataclasses import dataclass
from typing import Any

from tcnn_codec.bitstream.limits import (
    MAX_CHUNK_FRAMES,
    MAX_FREQUENCIES,
    MAX_HIDDEN_LAYERS,
    MAX_WIDTH,
)
from tcnn_codec.errors import CodecError

MIN_BITS, MAX_BITS = 4, 12
MAX_STEPS = 10_000_000
MAX_FILE_BYTES = 2**40
MAX_THREADS = 1024
#: Of the products in training, by backend.
PRECISIONS_OF = {
    "cpu": ("float32", "bfloat16"),
    "cuda": ("float16",),
    "tinycudann": ("float16",),
    "torch": ("float32",),
}
BACKENDS = ("auto", *PRECISIONS_OF)
PRECISIONS = ("auto", *dict.fromkeys(name for of in PRECISIONS_OF.values() for name in of))
#: Optimiser steps of each preset.
PRESETS = {"fast": 3000, "balanced": 12000, "best": 60000}


@dataclass(frozen=True)
class EncodeConfig:
    """Options of encode, in the command line's words. Raises CodecError for a value out of range.

    width: neurons of a hidden layer, 1 to 128; None takes 32. hidden_layers: 0 to 32; None takes
    the paper's 3, or under a target 5, and 2 for widths below 6. frequencies: encoding octaves
    per axis, 0 to 32; None takes 16, or 12 where no side is above 256 pixels. bits: 4 to 12 a
    weight before entropy coding, on average; None takes 6. lambda_: instead of bits, the step sizes
    that minimise D + lambda R, with D the mean squared error of 8-bit samples that is left of
    rounding once training has made up for most, and R in bits per pixel.

    bytes, bpp, psnr: the target, at most one of them; width and bits are chosen for it. The file
    has at most `bytes`, or `bpp` bits per pixel, and at least 97 % of that; or its PSNR is `psnr`
    dB or up to 0.1 dB more.

    preset: fast, balanced or best; steps overrides its number of steps. chunk_frames: frames of a
    video that share a network.
    backend: auto, cpu, cuda, tinycudann or torch. precision: of the products in fitting, float32,
    bfloat16 (cpu), float16 (cuda, tinycudann), or auto for 16 bits where the backend has them;
    decoded pixels are float32 always. threads: 0 takes every core. seed: same seed, machine and
    instruction set, same bytes.
    """

    width: int | None = None
    hidden_layers: int | None = None
    frequencies: int | None = None
    bits: int | None = None
    lambda_: float | None = None
    bytes: int | None = None
    bpp: float | None = None
    psnr: float | None = None
    preset: str = "balanced"
    steps: int | None = None
    chunk_frames: int = 25
    backend: str = "auto"
    precision: str = "auto"
    threads: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least, most, remedy in (
            ("width", 1, MAX_WIDTH, "32 suits small files, 64 better quality"),
            ("hidden_layers", 0, MAX_HIDDEN_LAYERS, "3 is usual"),
            ("frequencies", 0, MAX_FREQUENCIES, "leave it out for the usual 16"),
            ("steps", 1, MAX_STEPS, "12000 is usual, or choose a preset instead"),
            ("bits", MIN_BITS, MAX_BITS, "6 is usual"),
            ("bytes", 1, MAX_FILE_BYTES, "4000 suits a small photograph"),
            ("chunk_frames", 1, MAX_CHUNK_FRAMES, "25 is usual"),
            ("threads", 0, MAX_THREADS, "0 takes every core"),
            ("seed", 0, 2**63 - 1, "0 is usual"),
        ):
            value = getattr(self, name)
            if value is None and getattr(EncodeConfig, name) is None:
                continue
            if hasattr(value, "__index__") and not isinstance(value, bool):
                object.__setattr__(self, name, value := operator.index(value))
            if type(value) is not int or not least <= value <= most:
                option = "--" + name.replace("_", "-")
                raise CodecError(f"{option} is {value}; allowed are {least} to {most}; {remedy}")
        for name, low, high, remedy in (
            ("lambda_", 1e-6, 1e6, "100 is usual"),
            ("bpp", 1e-9, 1e3, "0.1 to 0.5 suits photographs"),
            ("psnr", 1.0, 100.0, "25 to 35 suits photographs"),
        ):
            self._check_number(name, low, high, remedy)
        self._check_target()
        _check_name("preset", self.preset, tuple(PRESETS), EncodeConfig.preset)
        _check_name("backend", self.backend, BACKENDS, EncodeConfig.backend)
        check_precision(self.precision)

    def _check_number(self, name: str, least: float, most: float, remedy: str) -> None:
        value = getattr(self, name)
        if value is None:
            return
        known = isinstance(value, numbers.Real) and not isinstance(value, bool)
        if not known or not least <= value <= most:
            option = "--" + name.rstrip("_")
            raise CodecError(f"{option} is {value}; allowed are {least:g} to {most:g}; {remedy}")
        object.__setattr__(self, name, float(value))

    def _check_target(self) -> None:
        """One target at most, and nothing that it is there to choose."""
        targets = [n for n in ("bytes", "bpp", "psnr") if getattr(self, n) is not None]
        chosen = [n for n in ("width", "bits", "lambda_") if getattr(self, n) is not None]
        if targets:
            clash, why = targets + chosen, f"--{targets[0]} chooses width and bits by itself"
        else:
            clash, why = [n for n in chosen if n != "width"], "each sets the step sizes"
        if len(clash) > 1:
            options = " and ".join("--" + name.rstrip("_") for name in clash)
            raise CodecError(f"{options} exclude each other: {why}; leave out all but one")

    @property
    def fit_steps(self) -> int:
        return self.steps if self.steps is not None else PRESETS[self.preset]


def check_precision(value: str) -> None:
    """Raises CodecError for what is not one of PRECISIONS."""
    _check_name("precision", value, PRECISIONS, EncodeConfig.precision)


def _check_name(name: str, value: str, allowed: tuple[str, ...], usual: str) -> None:
    if value not in allowed:
        raise CodecError(
            f"--{name} is '{value}'; allowed are {', '.join(allowed)}; '{usual}' is usual"
        )


def make_config(**options: Any) -> EncodeConfig:
    """EncodeConfig from keyword options. Raises CodecError for one that does not exist."""
    known = EncodeConfig.__dataclass_fields__
    for name in options:
        if name not in known:
            raise CodecError(
                f"there is no option '{name}'; allowed are {', '.join(known)}; leave it out"
            )
    return EncodeConfig(**options)
