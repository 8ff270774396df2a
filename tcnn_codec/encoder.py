"""Encoding, top to bottom: frames → chunks → fit → quantise → refine → entropy → container."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tcnn_codec import backends
from tcnn_codec.backends.base import Backend
from tcnn_codec.chunks import Chunk, cut
from tcnn_codec.config import EncodeConfig
from tcnn_codec.container import DEFAULT_MAX_PIXELS, MAX_FRAMES, StreamInfo, write_stream
from tcnn_codec.entropy import encode_tensors
from tcnn_codec.errors import CodecError
from tcnn_codec.fit import fit
from tcnn_codec.io import Frame, Source, atomic_path, check_output, open_source
from tcnn_codec.metrics import mean_psnr, psnr
from tcnn_codec.quantise import dequantise, quantise
from tcnn_codec.refine import balance_steps, round_gradually
from tcnn_codec.siren import SirenSpec

SUFFIX = ".tcnn"
#: Pixels of a chunk are numbered in 32 bits.
MOST_PIXELS = 2**32 - 1
LOW_RESOLUTION = 256
#: One of so many steps is of rounding.
ROUNDING_SHARE = 8
MAX_FRAME_RATE = 1000
#: Called with (chunk, chunks, step, steps, PSNR in dB).
Progress = Callable[[int, int, int, int, float], None]


@dataclass(frozen=True)
class Encoded:
    """A stream and what encoding it took."""

    stream: bytes
    info: StreamInfo
    psnr_db: float
    encode_seconds: float
    fit_steps: int
    backend: str
    isa: str
    precision: str
    notes: tuple[str, ...]

    @property
    def bits_per_pixel(self) -> float:
        return self.info.bits_per_pixel(len(self.stream))

    def report(self) -> dict[str, int | float | str | None]:
        """The keys of encode --json; psnr_db is None where the decoded pixels are exact."""
        return {
            "bytes": len(self.stream),
            "bits_per_pixel": self.bits_per_pixel,
            "psnr_db": self.psnr_db if np.isfinite(self.psnr_db) else None,
            "encode_seconds": self.encode_seconds,
            "fit_steps": self.fit_steps,
            "backend": self.backend,
            "isa": self.isa,
            "precision": self.precision,
            "hidden_width": self.info.spec.width,
            "chunks": self.info.chunk_count,
            "frames": self.info.frames,
            "height": self.info.height,
            "width": self.info.width,
        }


def encode_file(
    path: Path,
    output: Path,
    config: EncodeConfig,
    *,
    first: int = 0,
    last: int | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    progress: Progress | None = None,
) -> Encoded:
    """Encode frames first:last of an image, a video or a folder of frames into `output`.

    The file appears under its name only when it is complete. Raises CodecError for bad input.
    """
    if path.suffix.lower() == SUFFIX:
        raise CodecError(
            f"input '{path}' is a stream already; allowed are images, videos and folders of "
            "frames; decode it, or encode what it was made from"
        )
    if output.suffix.lower() != SUFFIX:
        raise CodecError(f"output '{output}' is no {SUFFIX} file; name it '{output.stem}{SUFFIX}'")
    check_output(output, reads=path)
    with open_source(path, first, last, max_pixels=max_pixels) as source:
        encoded = encode_source(source, config, max_pixels=max_pixels, progress=progress)
    with atomic_path(output) as temporary:
        temporary.write_bytes(encoded.stream)
    return encoded


def encode_source(
    source: Source,
    config: EncodeConfig,
    *,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    progress: Progress | None = None,
) -> Encoded:
    """Encode every frame of an opened source; holds one chunk at a time. Raises CodecError."""
    start = time.perf_counter()
    backend = backends.create(config.backend, config.threads, config.precision)
    chunk_frames = config.chunk_frames if source.kind == "video" else 1
    chunk_frames = min(chunk_frames, source.frame_count)
    held = source.height * source.width * chunk_frames
    if held > (limit := min(max_pixels, MOST_PIXELS)):
        raise CodecError(
            f"a chunk of {source.width}x{source.height}x{chunk_frames} is {held} pixels; the limit "
            f"is {limit}; lower --chunk-frames or raise --max-pixels, at most to {MOST_PIXELS}"
        )
    if source.frame_count > MAX_FRAMES:
        raise CodecError(
            f"the video has {source.frame_count} frames; a file holds at most {MAX_FRAMES}; "
            f"encode it in parts with --frames 0:{MAX_FRAMES}"
        )
    # Made here, for one frame, so that what no file can hold is told before any fitting.
    info = StreamInfo(
        kind=source.kind,
        height=source.height,
        width=source.width,
        channels=source.channels,
        spec=(spec := choose_spec(source, config)),
        time_base=source.time_base,
        frame_rate=source.frame_rate,
    )
    chunk_count = -(-source.frame_count // chunk_frames)
    timestamps: list[int] = []

    def pixels() -> Iterator[NDArray[np.uint8]]:
        for frame in source.frames():
            timestamps.append(frame.pts)
            yield frame.pixels

    payloads: list[bytes] = []
    qualities: list[float] = []
    for index, chunk in enumerate(cut(pixels(), chunk_frames)):

        def report(step: int, quality: float, index: int = index) -> None:
            if progress is not None:
                progress(index, chunk_count, step, config.fit_steps, quality)

        payload, quality = encode_chunk(backend, spec, chunk, config, index, report)
        payloads.append(payload)
        qualities += quality
    info = replace(
        info,
        frames=source.frame_count,
        chunk_frames=chunk_frames,
        timestamps=tuple(timestamps),
    )
    return Encoded(
        stream=write_stream(info, payloads),
        info=info,
        psnr_db=mean_psnr(qualities),
        encode_seconds=time.perf_counter() - start,
        fit_steps=config.fit_steps,
        backend=backend.name,
        isa=backend.isa,
        precision=backend.precision,
        notes=source.notes,
    )


def encode_chunk(
    backend: Backend,
    spec: SirenSpec,
    chunk: Chunk,
    config: EncodeConfig,
    index: int,
    progress: Callable[[int, float], None],
) -> tuple[bytes, list[float]]:
    """Payload of one chunk, and the PSNR in dB of each of its frames as a decoder outputs them."""
    target, seed = chunk.pixels.reshape(-1, spec.out_channels), config.seed + index
    rounding_steps = config.fit_steps // ROUNDING_SHARE
    steps = config.fit_steps - rounding_steps
    params = fit(backend, spec, chunk.grid, target, steps=steps, seed=seed, progress=progress)
    tensors = quantise(spec, params, config.bits)
    tensors = balance_steps(backend, spec, params, chunk.grid, tensors)
    if rounding_steps:
        tensors = round_gradually(
            backend,
            spec,
            params,
            chunk.grid,
            target,
            tensors,
            steps=rounding_steps,
            seed=seed,
            progress=lambda step, quality: progress(steps + step, quality),
        )
    decoded = backend.render(spec, dequantise(spec, tensors), chunk.grid)
    quality = [psnr(a, b) for a, b in zip(chunk.pixels, decoded, strict=True)]
    return encode_tensors(tensors), quality


def choose_spec(source: Source, config: EncodeConfig) -> SirenSpec:
    """The network for every chunk of a source."""
    low = max(source.height, source.width) <= LOW_RESOLUTION
    return SirenSpec(
        axes=3 if source.kind == "video" else 2,
        frequencies=config.frequencies if config.frequencies is not None else 12 if low else 16,
        hidden_layers=config.hidden_layers,
        width=config.width,
        out_channels=source.channels,
    )


def array_source(array: NDArray[np.uint8], frame_rate: float = 25) -> Source:
    """A source over pixels in memory, uint8: [height, width], [height, width, 1|3|4] for an image,
    [frames, height, width, 1|3|4] for a video at `frame_rate` frames per second.

    Raises CodecError for another dtype or shape.
    """
    pixels = np.asarray(array)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if (
        pixels.dtype != np.uint8
        or pixels.ndim not in (3, 4)
        or pixels.shape[-1] not in (1, 3, 4)
        or pixels.size == 0
    ):
        raise CodecError(
            f"the array is {np.asarray(array).dtype} {np.shape(array)}; allowed is uint8 "
            "[height, width], [height, width, 1|3|4] or [frames, height, width, 1|3|4], none of "
            "them 0; convert it with astype(numpy.uint8) and reshape"
        )
    kind: Literal["image", "video"] = "image" if pixels.ndim == 3 else "video"
    frames = pixels.reshape(-1, *pixels.shape[-3:])
    rate = _frame_rate(frame_rate) if kind == "video" else Fraction(1)
    return Source(
        kind=kind,
        height=frames.shape[1],
        width=frames.shape[2],
        channels=frames.shape[3],
        time_base=1 / rate,
        frame_rate=rate,
        frame_count=len(frames),
        notes=(),
        read=lambda: (Frame(np.ascontiguousarray(p), i) for i, p in enumerate(frames)),
    )


def _frame_rate(value: float) -> Fraction:
    try:
        exact = value if isinstance(value, Fraction) else float(value)
    except (TypeError, ValueError):
        exact = math.nan
    if not 1 / MAX_FRAME_RATE <= exact <= MAX_FRAME_RATE:
        raise CodecError(
            f"frame_rate is {value}; allowed are {1 / MAX_FRAME_RATE:g} to {MAX_FRAME_RATE} frames "
            "per second; 25 is usual"
        )
    return Fraction(exact).limit_denominator(1001)
