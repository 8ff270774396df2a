"""The optimiser's arithmetic against PyTorch's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tcnn_codec import _cpu
from tcnn_codec.families.siren.spec import SirenSpec
from tcnn_codec.families.siren.start import initialise
from tcnn_codec.training.optimiser import (
    BETA1,
    BETA2,
    EPSILON,
    FLOOR,
    MOMENTUM,
    NEWTON_SCHULZ,
    NEWTON_SCHULZ_STEPS,
    OptimiserState,
    adam_step,
    optimise,
    orthogonalise,
    shrink,
)

STEPS = 20


def test_the_kernels_orthogonalise_by_the_same_numbers() -> None:
    assert _cpu.newton_schulz[:3] == tuple(np.float32(factor) for factor in NEWTON_SCHULZ)
    assert _cpu.newton_schulz[3] == NEWTON_SCHULZ_STEPS


def test_adam_is_torch_adam() -> None:
    rng = np.random.default_rng(0)
    start = rng.normal(size=50).astype(np.float32)
    state = OptimiserState.start(start)
    params = torch.nn.Parameter(torch.from_numpy(start.copy()))
    optimiser = torch.optim.Adam([params], lr=1e-2, betas=(BETA1, BETA2), eps=EPSILON)
    for _ in range(STEPS):
        grad = rng.normal(size=50).astype(np.float32)
        adam_step(state, slice(0, 50), grad, np.float32(1), 1e-2)
        state.steps_done += 1
        params.grad = torch.from_numpy(grad)
        optimiser.step()
    assert np.allclose(state.params, params.detach().numpy(), rtol=0, atol=2e-6)


def test_weights_take_the_steps_of_torch_muon() -> None:
    """PyTorch's Newton-Schulz runs in bfloat16, so one step differs by a few of its roundings."""
    spec = SirenSpec(width=40, hidden_layers=1, frequencies=3)
    rng = np.random.default_rng(0)
    state = OptimiserState.start(initialise(spec, 0))
    weights = [t for t in spec.tensors if len(t.shape) == 2]
    start = [state.params[t.place].reshape(t.shape).copy() for t in weights]
    params = [torch.nn.Parameter(torch.from_numpy(w.copy())) for w in start]
    optimiser = torch.optim.Muon(params, lr=1e-2, momentum=MOMENTUM, weight_decay=0)
    for _ in range(STEPS):
        grad = rng.normal(size=spec.parameter_count).astype(np.float32)
        optimise(spec.tensors, state, grad, 1e-2)
        for p, t in zip(params, weights, strict=True):
            p.grad = torch.from_numpy(grad[t.place].reshape(t.shape).copy())
        optimiser.step()
    for p, t, before in zip(params, weights, start, strict=True):
        ours = state.params[t.place].reshape(t.shape) - before
        theirs = p.detach().numpy() - before
        assert np.linalg.norm(ours - theirs) < 0.02 * np.linalg.norm(theirs)


@pytest.mark.parametrize("shape", [(32, 66), (66, 32), (48, 48), (3, 32), (1, 9), (1, 1)])
def test_orthogonalise_evens_out_singular_values(shape: tuple[int, int]) -> None:
    """U S V^T becomes U f(S / |S|) V^T, f being the polynomial five times over."""
    matrix = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    u, values, vt = np.linalg.svd(matrix.astype(np.float64), full_matrices=False)
    expected = values / np.linalg.norm(values)
    for _ in range(NEWTON_SCHULZ_STEPS):
        a, b, c = NEWTON_SCHULZ
        expected = a * expected + b * expected**3 + c * expected**5
    assert np.abs(u.T @ orthogonalise(matrix) @ vt.T - np.diag(expected)).max() < 1e-5


def test_orthogonalise_leaves_zero_alone() -> None:
    assert not orthogonalise(np.zeros((4, 3), np.float32)).any()


def test_the_rate_term_lowers_the_rate_and_crosses_no_zero() -> None:
    start = np.random.default_rng(2).normal(size=(30, 8)).astype(np.float32)
    start *= np.exp2(-np.arange(8, dtype=np.float32))

    def rate(weights: np.ndarray) -> float:
        means = np.abs(weights).mean(axis=0)
        return float(30 * np.log(means + FLOOR * np.abs(start).mean()).sum())

    small, large = start.astype(np.float64), start.copy()
    shrink(small, 1e-6)  # type: ignore[arg-type]
    moved = (start - small) * np.sign(start)
    # The slope of the rate with respect to every weight, in units of the threshold.
    slope = np.abs(start).mean() / (np.abs(start).mean(axis=0) + FLOOR * np.abs(start).mean())
    np.testing.assert_allclose(moved, 1e-6 * np.broadcast_to(slope, start.shape), rtol=1e-5)
    assert rate(small) < rate(start)
    shrink(large, 0.5)
    assert ((large == 0) | (np.sign(large) == np.sign(start))).all()
    assert (large[:, -1] == 0).all()
    shrink(zero := np.zeros((3, 2), np.float32), 1.0)
    assert not zero.any()
