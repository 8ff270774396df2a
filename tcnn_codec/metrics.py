"""Distortion of 8-bit pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib.util import find_spec

import numpy as np

from tcnn_codec.dtypes import U8

#: What an exact frame counts in the mean of a video that is not exact throughout.
PSNR_CAP = 100.0
#: MS-SSIM halves the picture four times under an 11-pixel window.
MS_SSIM_LEAST_SIDE = 161


def colour(pixels: U8) -> U8:
    """The channels that PSNR and MS-SSIM are taken over: all but alpha. [..., 1|3|4]."""
    return pixels[..., :3]


def psnr(reference: U8, decoded: U8) -> float:
    """Peak signal-to-noise ratio in dB over the colour channels of two uint8 arrays of one shape.

    Infinite where they are equal.
    """
    difference = colour(reference).astype(np.int32) - colour(decoded)
    squares = int(np.square(difference, dtype=np.int64).sum())
    if squares == 0:
        return math.inf
    return 10 * math.log10(255**2 * difference.size / squares)


def can_measure_ms_ssim() -> bool:
    """Whether torch and pytorch-msssim, which `ms_ssim` needs, are installed."""
    return all(find_spec(name) is not None for name in ("torch", "pytorch_msssim"))


def ms_ssim(reference: U8, decoded: U8) -> float | None:
    """Multi-scale SSIM (Wang et al. 2003) of two pictures uint8 [height, width, channels], 0 to 1.

    None where a side is below MS_SSIM_LEAST_SIDE pixels, for which it is not defined. Raises
    ImportError where `can_measure_ms_ssim` is false.
    """
    if min(reference.shape[:2]) < MS_SSIM_LEAST_SIDE:
        return None
    import torch
    from pytorch_msssim import ms_ssim as torch_ms_ssim

    def batch(pixels: U8) -> torch.Tensor:
        return torch.from_numpy(colour(pixels).astype(np.float32)).permute(2, 0, 1)[None]

    return float(torch_ms_ssim(batch(reference), batch(decoded), data_range=255))


def mean_psnr(qualities: Sequence[float]) -> float:
    """A video's PSNR: the mean of its frames' in dB. Infinite only where every frame is exact;
    else exact frames count as PSNR_CAP."""
    if all(math.isinf(q) for q in qualities):
        return math.inf
    return sum(min(q, PSNR_CAP) for q in qualities) / len(qualities)
