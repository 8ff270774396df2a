"""The schedule, the batches, and that fitting fits."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tcnn_codec.errors import CodecError
from tcnn_codec.families.siren import fit as module
from tcnn_codec.families.siren.backends.cpu import CpuBackend
from tcnn_codec.families.siren.fit import fit, peak_learning_rate
from tcnn_codec.families.siren.spec import SirenSpec
from tcnn_codec.families.siren.start import initialise
from tcnn_codec.grid import Grid
from tcnn_codec.training.batches import (
    BATCH,
    Batches,
    batch_size,
    draw_batches,
    shuffle,
    steps_per_call,
)
from tcnn_codec.training.job import Job
from tcnn_codec.training.learning_rates import learning_rates
from tcnn_codec.training.loop import psnr_of_loss


def test_learning_rates_warm_up_then_decay() -> None:
    rates = learning_rates(1000, 2e-3)
    assert rates.shape == (1000,)
    assert np.argmax(rates) == 99
    assert rates.max() == pytest.approx(2e-3)
    assert (np.diff(rates[:100]) > 0).all()
    assert (np.diff(rates[100:]) < 0).all()
    assert 0 < rates[-1] < 2e-8


def test_long_fits_and_deep_and_wide_networks_learn_more_slowly() -> None:
    peaks = [peak_learning_rate(SirenSpec(hidden_layers=n), 4000) for n in (0, 3, 6, 12)]
    assert peaks == pytest.approx([3.2e-3, 3.2e-3, 3.2e-3, 1.6e-3])
    assert peak_learning_rate(SirenSpec(width=128), 4000) == pytest.approx(1.6e-3)
    peaks = [peak_learning_rate(SirenSpec(), steps) for steps in (1, 100, 4000, 40000)]
    assert peaks == pytest.approx(
        [3.2e-3 * 4000**0.15, 3.2e-3 * 40**0.15, 3.2e-3, 3.2e-3 * 0.1**0.15]
    )


@pytest.mark.parametrize("steps", [1, 2, 3, 11])
def test_short_schedules_are_positive(steps: int) -> None:
    rates = learning_rates(steps, 1.0)
    assert len(rates) == steps
    assert (rates > 0).all()
    assert (rates <= 1).all()


def test_batches_visit_every_pixel_once_per_epoch() -> None:
    pixels = 4 * BATCH
    rng = np.random.default_rng(0)
    drawn = list(draw_batches(rng, pixels, steps=60, per_call=50, part=60))
    assert [len(b.starts) for b in drawn] == [50, 10]
    order = shuffle(pixels, 0)
    indices = [batches.indices(order, i) for batches in drawn for i in range(len(batches.starts))]
    epochs = np.reshape(indices[:8], (2, pixels))
    for epoch in epochs:
        assert np.array_equal(np.sort(epoch), np.arange(pixels))
    assert not np.array_equal(*epochs)
    assert not np.array_equal(epochs[0], np.sort(epochs[0]))


def test_steps_per_call_change_no_batch() -> None:
    def starts(per_call: int) -> list[tuple[int, int]]:
        drawn = draw_batches(np.random.default_rng(3), 10**5, steps=40, per_call=per_call, part=7)
        return [start for batches in drawn for start in batches.starts]

    assert starts(1) == starts(7) == starts(40)
    assert steps_per_call(SirenSpec().tensors, 768 * 512) == 200
    assert 1 < steps_per_call(SirenSpec(width=128).tensors, 10**7) < 50
    assert 1 < steps_per_call(SirenSpec(width=128, hidden_layers=32).tensors, 64) < 50


def test_a_small_picture_is_one_batch() -> None:
    (batches,) = draw_batches(np.random.default_rng(0), 1, steps=3, per_call=50, part=3)
    assert batches == Batches(((0, 1),) * 3, 1)
    assert batch_size(1) == 1
    assert batch_size(100) == 100
    assert batch_size(768 * 512) == batch_size(10**8) == BATCH


def test_fit_learns_a_smooth_picture() -> None:
    y, x = np.mgrid[0:32, 0:48]
    pixels = np.stack([5 * x, 8 * y, 128 + 0 * x], axis=-1).astype(np.uint8)
    seen: list[tuple[int, float]] = []
    spec = SirenSpec(width=16, hidden_layers=1, frequencies=2)
    job = Job.of(spec, pixels[None], 0)
    assert job.grid == Grid(48, 32)
    start = initialise(spec, 0)
    params = fit(CpuBackend(), job, start, 300, lambda step, psnr_db: seen.append((step, psnr_db)))
    assert np.array_equal(start, initialise(spec, 0)), "the start handed in is left alone"
    loss, _ = CpuBackend().loss_and_grad(job, params)
    assert psnr_of_loss(loss) > 35
    assert [step for step, _ in seen] == [200, 300]
    assert seen[-1][1] == pytest.approx(psnr_of_loss(loss), abs=0.5)


def test_divergence_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEARNING_RATE", 1e30)
    job = Job.of(SirenSpec(width=4, hidden_layers=0), np.zeros((1, 8, 8, 3), np.uint8), 0)
    with pytest.raises(CodecError, match="fitting diverged at step 50: the loss is"):
        fit(CpuBackend(), job, initialise(job.spec, 0), 50)


def test_psnr_of_loss() -> None:
    assert psnr_of_loss(4.0) == 0
    assert psnr_of_loss(0.04) == pytest.approx(20)
    assert psnr_of_loss(0.0) == math.inf
