"""What a user may choose about encoding; frozen, checked once, at the border."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from tcnn_codec.bitstream.limits import MAX_CHUNK_FRAMES, MAX_CHUNKS
from tcnn_codec.checks import one_of, real_number, whole_number
from tcnn_codec.errors import CodecError
from tcnn_codec.families import BACKENDS, PRECISIONS, DefaultOptions
from tcnn_codec.families.contract import MAX_BITS, MAX_THREADS, MIN_BITS, ModelOptions

MAX_STEPS = 10_000_000
#: Of `chunk_frames`: left to the encoder.
AUTO = "auto"
MAX_FILE_BYTES = 2**40
#: Optimiser steps of each preset.
PRESETS = {"fast": 3000, "balanced": 12000, "best": 60000}


@dataclass(frozen=True)
class EncodeConfig:
    """Options of encode, in the command line's words. Raises CodecError for a value out of range.

    model: those of the family of networks. bits: 4 to 12 a weight before entropy coding, on
    average; None takes 6. lambda_: instead of bits, the quantisation steps that minimise
    D + lambda R, with D the mean squared error of 8-bit samples that is left of rounding once
    training has made up for most, and R in bits per pixel.

    bytes, bpp, psnr: the target, at most one of them; the network's size and bits are chosen for
    it. The file has at most `bytes`, or `bpp` bits per pixel, and at least 97 % of that; or its
    PSNR is `psnr` dB or up to 0.1 dB more.

    preset: fast, balanced or best; steps overrides its number of steps, which is more for wide
    networks on many pixels. chunk_frames: frames of a
    video that share a network; 'auto' takes those of a scene, between two cuts. key_interval: every
    so many chunks one is decoded by itself, and others may be differences to the one before; None
    takes 1, every chunk, or for chunks of up to 16 frames as many as have 250 frames.
    backend: auto, cpu, cuda, tinycudann or torch. precision: of the products in fitting, float32,
    bfloat16 (cpu), float16 (cuda, tinycudann), or auto for whichever is faster on this processor;
    decoded pixels are float32 always. threads: 0 takes every core. seed: same seed, machine and
    device, same bytes.
    """

    model: ModelOptions = field(default_factory=DefaultOptions)
    bits: int | None = None
    lambda_: float | None = None
    bytes: int | None = None
    bpp: float | None = None
    psnr: float | None = None
    preset: str = "balanced"
    steps: int | None = None
    chunk_frames: int | str = AUTO
    key_interval: int | None = None
    backend: str = "auto"
    precision: str = "auto"
    threads: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least, most, remedy in (
            ("steps", 1, MAX_STEPS, "12000 is usual, or choose a `preset` instead"),
            ("bits", MIN_BITS, MAX_BITS, "6 is usual"),
            ("bytes", 1, MAX_FILE_BYTES, "4000 suits a small photograph"),
            ("key_interval", 1, MAX_CHUNKS, "1 makes every chunk a key chunk"),
            ("threads", 0, MAX_THREADS, "0 takes every core"),
            ("seed", 0, 2**63 - 1, "0 is usual"),
        ):
            self._set(name, whole_number, least, most, remedy)
        for name, low, high, remedy in (
            ("lambda_", 1e-6, 1e6, "100 is usual"),
            ("bpp", 1e-9, 1e3, "0.1 to 0.5 suits photographs"),
            ("psnr", 1.0, 100.0, "25 to 35 suits photographs"),
        ):
            self._set(name, real_number, low, high, remedy)
        if self.chunk_frames != AUTO:
            remedy = f"leave it out for '{AUTO}', the frames of a scene"
            self._set("chunk_frames", whole_number, 1, MAX_CHUNK_FRAMES, remedy)
        self._check_target()
        one_of("`preset`", self.preset, tuple(PRESETS), EncodeConfig.preset)
        one_of("`backend`", self.backend, BACKENDS, EncodeConfig.backend)
        one_of("`precision`", self.precision, PRECISIONS, EncodeConfig.precision)

    def _set(self, name: str, check: Any, least: float, most: float, remedy: str) -> None:
        value = getattr(self, name)
        if value is not None or getattr(EncodeConfig, name) is not None:
            object.__setattr__(self, name, check(f"`{name}`", value, least, most, remedy))

    def _check_target(self) -> None:
        """One target at most, and nothing that it is there to choose."""
        targets = [n for n in ("bytes", "bpp", "psnr") if getattr(self, n) is not None]
        steps = [n for n in ("bits", "lambda_") if getattr(self, n) is not None]
        if targets:
            clash = [*targets, *self.model.size_options, *steps]
            why = f"`{targets[0]}` chooses the network's size and its bits by itself"
        else:
            clash, why = steps, "each sets the quantisation steps"
        if len(clash) > 1:
            options = " and ".join(f"`{name}`" for name in clash)
            raise CodecError(f"{options} exclude each other", why, "leave out all but one")

    @property
    def fit_steps(self) -> int:
        return self.steps if self.steps is not None else PRESETS[self.preset]


def make_config(**options: Any) -> EncodeConfig:
    """EncodeConfig from keyword options, the model's among them.

    Raises CodecError for one that does not exist.
    """
    ours = [f.name for f in fields(EncodeConfig) if f.name != "model"]
    models = [f.name for f in fields(DefaultOptions)]
    for name in options:
        if name not in (*models, *ours):
            raise CodecError(
                f"there is no option '{name}'",
                f"allowed are {', '.join((*models, *ours))}",
                "leave it out",
            )
    model = DefaultOptions(**{name: options.pop(name) for name in models if name in options})
    return EncodeConfig(model=model, **options)
