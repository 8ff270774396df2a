"""Encoding a file or a source, as it is asked for: one size of network, or a target."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tcnn_codec.bitstream.header import DEFAULT_MAX_PIXELS, StreamInfo
from tcnn_codec.config import EncodeConfig
from tcnn_codec.encoding.chunks import ChunkReader
from tcnn_codec.encoding.coding import Coded, Progress, SourceCoder
from tcnn_codec.encoding.executors import InThisProcess
from tcnn_codec.encoding.jobs import Tools
from tcnn_codec.encoding.plan import ChunkPlan, plan_chunks
from tcnn_codec.encoding.rate import LargestTooPoor, reach_quality, reach_size
from tcnn_codec.errors import CodecError
from tcnn_codec.families import make_fitter
from tcnn_codec.families.contract import Fitter
from tcnn_codec.io import (
    Pipe,
    Place,
    Source,
    as_file,
    atomic_path,
    check_output,
    open_source,
)

SUFFIX = ".tcnn"


@dataclass(frozen=True)
class Encoded:
    """A stream and what encoding it took.

    fit_steps: of the chunk with the most. cuts: the first frames of scenes, or None where the user
    has set the chunks.
    """

    stream: bytes
    info: StreamInfo
    psnr_db: float
    encode_seconds: float
    fit_steps: int
    backend: str
    device: str
    precision: str
    notes: tuple[str, ...]
    cuts: tuple[int, ...] | None

    @property
    def bits_per_pixel(self) -> float:
        return self.info.bits_per_pixel(len(self.stream))

    def report(self) -> dict[str, int | float | str | list[int] | None]:
        """The keys of encode --json; psnr_db is None where the decoded pixels are exact."""
        return {
            "bytes": len(self.stream),
            "bits_per_pixel": self.bits_per_pixel,
            "psnr_db": self.psnr_db if np.isfinite(self.psnr_db) else None,
            "encode_seconds": self.encode_seconds,
            "fit_steps": self.fit_steps,
            "backend": self.backend,
            "device": self.device,
            "precision": self.precision,
            **self.info.family.describe(self.info.networks[0]),
            "chunks": self.info.chunk_count,
            "cuts": None if self.cuts is None else list(self.cuts),
            "frames": self.info.frames,
            "height": self.info.height,
            "width": self.info.width,
        }


def encode_file(
    path: Place,
    output: Place | None,
    config: EncodeConfig,
    *,
    first: int = 0,
    stop: int | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    progress: Progress | None = None,
) -> Encoded:
    """Encode frames first:stop of an image, a video or a folder of frames into `output`, if given.

    A file appears under its name, and a pipe gets anything, only when the stream is complete.
    Raises CodecError for bad input.
    """
    if isinstance(path, Path) and path.suffix.lower() == SUFFIX:
        raise CodecError(
            f"input '{path}' is a stream already",
            "allowed are images, videos and folders of frames",
            "decode it, or encode what it was made from",
        )
    check_stream_output(output, reads=path)
    with as_file(path) as file, open_source(file, first, stop, max_pixels=max_pixels) as source:
        encoded = encode_source(source, config, max_pixels=max_pixels, progress=progress)
    write_stream_output(output, encoded.stream)
    return encoded


def check_stream_output(output: Place | None, *, reads: Place | None = None) -> None:
    """Raise CodecError where no stream can be written to `output`, before any long work."""
    if not isinstance(output, Path):
        return
    if output.suffix.lower() != SUFFIX:
        raise CodecError(
            f"output '{output}' is no {SUFFIX} file", remedy=f"name it '{output.stem}{SUFFIX}'"
        )
    check_output(output, reads=reads if isinstance(reads, Path) else None)


def write_stream_output(output: Place | None, stream: bytes) -> None:
    """Write what `check_stream_output` let pass; a file is complete or not there."""
    if isinstance(output, Pipe):
        output.write(stream)
    elif output is not None:
        with atomic_path(output) as temporary:
            temporary.write_bytes(stream)


def encode_source(
    source: Source,
    config: EncodeConfig,
    *,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    progress: Progress | None = None,
    fitters: Callable[..., Fitter[Any]] = make_fitter,
) -> Encoded:
    """Encode every frame of an opened source; holds one chunk at a time.

    fitters: makes the fitter of config.model, as families.make_fitter does. Raises CodecError.
    """
    start = time.perf_counter()
    fitter = fitters(config.model, config.backend, config.precision, config.threads)
    plan = plan_chunks(source, config, fitter, max_pixels)
    coder, coded = _encode_planned(source, config, fitter, plan, progress)
    return Encoded(
        stream=coded.stream,
        info=coded.info,
        psnr_db=coded.psnr_db,
        encode_seconds=time.perf_counter() - start,
        fit_steps=max(coder.steps_of(coded.info.networks, i) for i in range(coder.chunks.count)),
        backend=fitter.backend,
        device=fitter.device,
        precision=fitter.precision,
        notes=source.notes,
        cuts=plan.cuts,
    )


def _encode_planned(
    source: Source,
    config: EncodeConfig,
    fitter: Fitter[Any],
    plan: ChunkPlan,
    progress: Progress | None,
) -> tuple[SourceCoder, Coded]:
    """By that plan, or by one of shorter chunks where the largest networks are too poor for it."""
    coder = SourceCoder(
        picture=source.format,
        chunks=ChunkReader(source, plan.lengths),
        config=config,
        fitter=fitter,
        executor=InThisProcess(Tools.of(fitter)),
        progress=progress,
        shares=plan.shares,
        key_interval=plan.key_interval,
    )
    coder.check()
    try:
        return coder, _reach_target(coder)
    except LargestTooPoor as error:
        law = fitter.ladder(source.format).law
        shorter = plan.shorter(math.ceil(error.short_by / law.db_per_doubling))
        if shorter is None:
            raise
    return _encode_planned(source, config, fitter, shorter, progress)


def _reach_target(coder: SourceCoder) -> Coded:
    config, pixels = coder.config, coder.picture.pixels
    if config.psnr is not None:
        return reach_quality(config.psnr, coder.networks())
    if config.bytes is not None:
        return reach_size(config.bytes, coder.networks(), lambda size: f"{math.ceil(size)} bytes")
    if config.bpp is not None:
        return reach_size(
            config.bpp * pixels / 8,
            coder.networks(),
            lambda size: f"{math.ceil(8e6 * size / pixels) / 1e6:g} bpp",
        )
    return coder.fit_and_code()
