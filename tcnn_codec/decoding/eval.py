"""Compares a .tcnn file with what it was made from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tcnn_codec.bitstream.header import DEFAULT_MAX_PIXELS, read_header
from tcnn_codec.decoding.decoder import decode_frames, open_stream
from tcnn_codec.dtypes import U8
from tcnn_codec.errors import CodecError
from tcnn_codec.io import atomic_path, check_output, open_source
from tcnn_codec.io.images import save_image
from tcnn_codec.metrics import can_measure_ms_ssim, colour, mean_psnr, ms_ssim, psnr

ERROR_GAIN = 8
_NO_MS_SSIM = "MS-SSIM is not measured: it needs torch; pip install torch pytorch-msssim"


@dataclass(frozen=True)
class Evaluation:
    """psnr_db and ms_ssim are means over frames; ms_ssim is None for pictures too small for it, and
    where it cannot be measured, of which notes has a line."""

    psnr_db: float
    ms_ssim: float | None
    bits_per_pixel: float
    bytes: int
    notes: tuple[str, ...] = ()

    def report(self) -> dict[str, int | float | None]:
        """The keys of eval --json; psnr_db is None where the decoded pixels are exact."""
        return {
            "psnr_db": self.psnr_db if math.isfinite(self.psnr_db) else None,
            "ms_ssim": self.ms_ssim,
            "bits_per_pixel": self.bits_per_pixel,
            "bytes": self.bytes,
        }


def eval_file(
    reference: Path,
    path: Path,
    *,
    first: int = 0,
    stop: int | None = None,
    plot: Path | None = None,
    threads: int = 0,
    max_pixels: int = DEFAULT_MAX_PIXELS,
) -> Evaluation:
    """Quality of `path` against frames first:stop of `reference`, which must be as many.

    plot: a PNG to write, original | decoded | error times 8, of the middle frame. Raises
    CodecError for bad input.
    """
    if plot is not None:
        if plot.suffix.lower() != ".png":
            raise CodecError(f"`plot` is '{plot}'", "allowed is a .png", "name it so")
        for read in (reference, path):
            check_output(plot, reads=read)
    with (
        open_stream(path) as stream,
        open_source(reference, first, stop, max_pixels=max_pixels) as source,
    ):
        info, picture = read_header(stream, max_pixels=max_pixels), source.format
        shape = (picture.height, picture.width, picture.channels)
        if shape != (info.height, info.width, info.channels):
            raise CodecError(
                f"'{reference}' is {picture.width}x{picture.height} with {picture.channels} "
                f"channels, '{path}' {info.width}x{info.height} with {info.channels}",
                "they must be alike",
                "name the input of encode",
            )
        if picture.frame_count != info.frames:
            raise CodecError(
                f"'{reference}' has {picture.frame_count} frames, '{path}' has {info.frames}",
                "they must be as many",
                "select those that were encoded with `frames` A:B",
            )
        qualities: list[float] = []
        similarities: list[float | None] = []
        measurable = can_measure_ms_ssim()
        decoding = decode_frames(stream, info, threads=threads, max_pixels=max_pixels)
        pairs = zip(source.frames(), decoding, strict=True)
        for index, (original, decoded) in enumerate(pairs):
            qualities.append(psnr(original.pixels, decoded.pixels))
            if measurable:
                similarities.append(ms_ssim(original.pixels, decoded.pixels))
            if plot is not None and index == info.frames // 2:
                plotted = comparison_picture(original.pixels, decoded.pixels)
        size = info.record_offsets[-1]
    if plot is not None:
        save_plot(plot, plotted)
    known = [s for s in similarities if s is not None]
    return Evaluation(
        psnr_db=mean_psnr(qualities),
        ms_ssim=sum(known) / len(known) if known else None,
        bits_per_pixel=info.bits_per_pixel(size),
        bytes=size,
        notes=() if measurable else (_NO_MS_SSIM,),
    )


def comparison_picture(original: U8, decoded: U8) -> U8:
    """original | decoded | error times 8, side by side, uint8 [height, 3 * width + gaps, 3].

    The error is the absolute difference of the colour channels, clipped at 255.
    """
    left, middle = _rgb(original), _rgb(decoded)
    error = np.abs(left.astype(np.int32) - middle) * ERROR_GAIN
    gap = np.full((left.shape[0], 8, 3), 255, np.uint8)
    right = np.clip(error, 0, 255).astype(np.uint8)
    return np.concatenate([left, gap, middle, gap, right], axis=1)


def save_plot(path: Path, picture: U8) -> None:
    """Write comparison_picture as a PNG."""
    with atomic_path(path) as temporary:
        save_image(temporary, picture, "PNG")


def _rgb(pixels: U8) -> U8:
    visible = colour(pixels)
    return np.repeat(visible, 3, axis=-1) if visible.shape[-1] == 1 else visible
