"""PSNR and MS-SSIM against their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tcnn_codec.metrics import mean_psnr, ms_ssim, psnr


def test_psnr_by_hand() -> None:
    a = np.full((4, 5, 3), 100, np.uint8)
    b = a.copy()
    assert psnr(a, b) == math.inf
    b += 10
    assert psnr(a, b) == pytest.approx(10 * math.log10(255**2 / 100))
    assert psnr(b, a) == psnr(a, b)


def test_alpha_does_not_count() -> None:
    a = np.zeros((2, 2, 4), np.uint8)
    b = a.copy()
    b[..., 3] = 255
    assert psnr(a, b) == math.inf
    b[..., 0] = 255
    assert psnr(a, b) == pytest.approx(10 * math.log10(3))


def test_a_videos_psnr_is_the_mean_of_its_frames() -> None:
    assert mean_psnr([20.0, 30.0]) == 25
    assert mean_psnr([math.inf, 30.0]) == 65
    assert mean_psnr([math.inf, math.inf]) == math.inf


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_ms_ssim(channels: int) -> None:
    rng = np.random.default_rng(0)
    smooth = np.add.outer(np.arange(170), np.arange(180)) // 2
    a = np.repeat(smooth[..., None], channels, axis=-1).astype(np.uint8)
    b = np.clip(a + rng.normal(0, 12, a.shape), 0, 255).astype(np.uint8)
    assert ms_ssim(a, a) == pytest.approx(1)
    noisy = ms_ssim(a, b)
    assert noisy is not None
    assert 0.3 < noisy < 0.99
    assert ms_ssim(a[:160], b[:160]) is None
