"""The tinycudann backend over a stand-in on the CPU: layout, scaling, refusals.

What tinycudann itself computes on a GPU is not tested here. The stand-in in float16 may err by what
an estimate does that shares no code with it: float64, with noise wherever tinycudann rounds.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from cases import (
    CASES,
    Case,
    case_of,
    check_float_targets,
    check_render,
    check_vjp,
    fit_steps,
    loss_and_grad,
    relative,
)
from fake_tinycudann import fake
from PIL import Image

import tcnn_codec
from tcnn_codec import doctor
from tcnn_codec.config import make_config
from tcnn_codec.encoding.encoder import encode_file
from tcnn_codec.errors import BackendUnavailable, CodecError
from tcnn_codec.families.siren import backends
from tcnn_codec.families.siren.backends import tinycudann
from tcnn_codec.families.siren.backends.reference import ReferenceBackend
from tcnn_codec.families.siren.backends.tinycudann import Layout, TinycudannBackend
from tcnn_codec.families.siren.spec import SirenSpec
from tcnn_codec.families.siren.start import initialise
from tcnn_codec.grid import Grid
from tcnn_codec.metrics import psnr
from tcnn_codec.training.batches import Batches
from tcnn_codec.training.job import Job
from tcnn_codec.training.optimiser import OptimiserState

EXACT, REFERENCE = ReferenceBackend(torch.float64), ReferenceBackend()
by_name = pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])


def create(**options: bool) -> TinycudannBackend:
    return TinycudannBackend(fake(**options), "cpu")


@by_name
def test_layout_is_the_same_network(case: Case) -> None:
    """A stand-in in float32 errs no more than the reference in float32, some roundings apart."""
    backend, params, target = create(), case.params(0), case.target(0)
    exact = EXACT.evaluate(case.spec, params, case.grid)
    expected = relative(REFERENCE.evaluate(case.spec, params, case.grid), exact)
    assert relative(backend.evaluate(case.spec, params, case.grid), exact) <= 3 * expected
    call = case.spec, params, case.grid, target, case.indices(0)
    exact_loss, exact_gradient = loss_and_grad(EXACT, *call)
    expected = relative(loss_and_grad(REFERENCE, *call)[1], exact_gradient)
    loss, gradient = loss_and_grad(backend, *call)
    assert loss == pytest.approx(exact_loss, rel=1e-5)
    assert relative(gradient, exact_gradient) <= 3 * expected


class Noise(torch.autograd.Function):
    """Values and gradients times 1 plus what rounding to float16 adds at most, either way."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x * (1 + 2**-11 * (2 * torch.rand_like(x) - 1))

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return Noise.forward(ctx, gradient)


def estimate(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Output of the batch and gradient as they come out with such noise."""
    torch.manual_seed(0)
    spec, noise = case.spec, Noise.apply
    indices = np.arange(case.grid.pixels) if case.batch == 0 else case.indices(0)
    pixels = torch.from_numpy(indices.astype(np.int64))
    flat = torch.tensor(case.params(0), dtype=torch.float64, requires_grad=True)
    parts = [flat[tensor.place].reshape(tensor.shape) for tensor in spec.tensors]
    x = noise(EXACT._encoded(spec, flat, case.grid, pixels))
    for weight, bias in zip(parts[:-2:2], parts[1:-2:2], strict=True):
        x = noise(torch.sin(noise(x @ noise(spec.w0 * weight).T + noise(spec.w0 * bias))))
    output = noise(x @ noise(parts[-2]).T + noise(parts[-1]))
    wanted = torch.from_numpy(case.target(0))[pixels].double() * (2 / 255) - 1
    (output - wanted).square().mean().backward()
    return output.detach().numpy(), flat.grad.numpy()


@by_name
def test_float16_errs_as_estimated(case: Case) -> None:
    """Half as much again, for the luck of one draw; the noise itself is float16's largest."""
    backend, indices = create(half=True), case.indices(0)
    batch = slice(None) if indices is None else indices
    call = case.spec, case.params(0), case.grid, case.target(0), indices
    exact, (noisy, noisy_gradient) = EXACT.evaluate(*call[:3])[batch], estimate(case)
    assert relative(backend.evaluate(*call[:3])[batch], exact) <= 1.5 * relative(noisy, exact)
    exact = loss_and_grad(EXACT, *call)[1]
    found = loss_and_grad(backend, *call)[1]
    assert relative(found, exact) <= 1.5 * relative(noisy_gradient, exact)


def test_small_errors_do_not_underflow() -> None:
    """A network one level of 255 off, on more than one piece, against one a hundred levels off."""
    spec, grid = SirenSpec(), Grid(128, 100)
    backend, params = create(half=True), initialise(spec, 0)
    noise = np.random.default_rng(0).standard_normal((grid.pixels, 3)).astype(np.float32)
    errors = []
    for level in (1, 100):
        off = level * 2 / 255 * noise
        found, exact = (
            loss_and_grad(each, spec, params, grid, each.evaluate(spec, params, grid) + off)[1]
            for each in (backend, EXACT)
        )
        errors.append(relative(found, exact))
    assert errors[0] <= 3 * errors[1]


def test_another_target_or_grid_is_noticed() -> None:
    case = CASES[0]
    backend, params, targets = create(), case.params(0), [case.target(seed) for seed in (0, 1)]
    for grid, seed in ((case.grid, 0), (case.grid, 1), (Grid(29, 37), 1), (case.grid, 0)):
        call = case.spec, params, grid, targets[seed]
        assert loss_and_grad(backend, *call)[0] == loss_and_grad(create(), *call)[0]


@by_name
def test_places(case: Case) -> None:
    layout = Layout.of(case.spec, "cpu")
    places = layout.places.numpy()
    assert len(np.unique(places)) == case.spec.parameter_count
    assert not layout.base[places].any()
    assert layout.base.count_nonzero() == case.spec.hidden_layers + 1
    assert layout.inputs % 16 == layout.width % 16 == 0
    params = torch.from_numpy(case.params(0))
    assert torch.equal(layout.theirs(params)[places], layout.factors * params)


def test_a_neuron_of_every_layer_is_one() -> None:
    backend = create(half=True)
    spec = SirenSpec(width=20, hidden_layers=3)
    backend.evaluate(spec, initialise(spec, 0), Grid(9, 7))
    network = backend._network
    assert network is not None
    assert len(network.module.kept) == 4
    for kept in network.module.kept:
        assert (kept[: 9 * 7, 20] == 1).all()


def test_pieces_change_roundings_only(monkeypatch: pytest.MonkeyPatch) -> None:
    case = case_of("paper-64-batch")
    call = case.spec, case.params(0), case.grid, case.target(0), case.indices(0)
    output = create().evaluate(*call[:3])
    loss, gradient = loss_and_grad(create(), *call)
    monkeypatch.setattr(tinycudann, "PIECE", 300)
    assert create().evaluate(*call[:3]) == pytest.approx(output, abs=1e-5)
    other, other_gradient = loss_and_grad(create(), *call)
    assert other == pytest.approx(loss, rel=1e-5)
    assert relative(other_gradient, gradient) < 1e-5


def fit(
    backend: TinycudannBackend | ReferenceBackend, case: Case, scales: np.ndarray | None = None
) -> tuple[np.ndarray, OptimiserState]:
    state = OptimiserState.start(case.params(0), 0.03, scales)
    order = np.random.default_rng(0).permutation(np.arange(case.grid.pixels, dtype=np.uint32))
    batches = Batches(tuple((7 * step, 1) for step in range(30)), 400)
    rates = np.full(30, 2e-3 if scales is None else 0.05, np.float32)
    job = Job(case.spec, case.grid, case.target(0), order)
    return fit_steps(backend, job, state, batches, rates)


@pytest.mark.parametrize("name", ["paper-32", "video", "coin-5x30", "thin-3"])
def test_thirty_steps_stay_within_one_percent_of_float32(name: str) -> None:
    case = case_of(name)
    losses, _ = fit(create(half=True), case)
    expected, _ = fit(REFERENCE, case)
    assert np.abs(losses / expected - 1).max() <= 0.01
    assert losses[-1] < losses[0]


def test_frozen_parameters_stay() -> None:
    case = case_of("video")
    first = case.params(0)
    scales = np.full_like(first, np.abs(first).max() / 31)
    frozen = np.random.default_rng(0).random(first.size) < 0.5
    scales[frozen] = 0
    losses, state = fit(create(half=True), case, scales)
    assert np.array_equal(state.params[frozen], first[frozen])
    assert (state.params[~frozen] != first[~frozen]).any()
    assert losses[-1] < losses[0]


def test_render_is_the_rounded_output() -> None:
    check_render(create(), case_of("video"))


def test_float_targets_are_taken_as_they_are() -> None:
    check_float_targets(create(), 1e-5)


@by_name
def test_vjp_is_as_accurate_as_the_gradient(case: Case) -> None:
    call = case.spec, case.params(4), case.grid, case.target(4)
    exact = loss_and_grad(EXACT, *call)[1]
    error = relative(loss_and_grad(REFERENCE, *call)[1], exact)
    check_vjp(create(), EXACT, case, 4 * error)
    error = relative(loss_and_grad(create(half=True), *call)[1], exact)
    check_vjp(create(half=True), EXACT, case, 2 * error)


def test_float16_passes_the_check_of_its_gradient() -> None:
    """With room on both sides: float16 errs by less than a tenth of what is allowed, the fault by
    more than ten times."""
    job, params = tinycudann.small_case()
    exact, errors = EXACT.loss_and_grad(job, params)[1], []
    for jit in (False, True):
        backend = create(half=True, always_jit=jit)
        found = backend._loss_and_grad(job, backend._send(job), params, None)[1]
        errors.append(relative(found, exact))
    assert errors[0] < tinycudann.GRADIENT_TOLERANCE / 10
    assert errors[1] > tinycudann.GRADIENT_TOLERANCE * 10


def test_the_fault_of_jit_fusion_is_refused_by_name() -> None:
    case = CASES[0]
    backend = create(half=True, always_jit=True)
    with pytest.raises(BackendUnavailable, match="its JIT fusion differentiates sine at the sine"):
        loss_and_grad(backend, case.spec, case.params(0), case.grid, case.target(0))


def test_the_gradient_is_checked_once() -> None:
    module, made = fake(), []

    def note(*arguments: Any) -> torch.nn.Module:
        made.append(arguments[2]["n_neurons"])
        return module.Network(*arguments)

    backend = TinycudannBackend(SimpleNamespace(Network=note), "cpu")
    case = CASES[0]
    for _ in range(2):
        loss_and_grad(backend, case.spec, case.params(0), case.grid, case.target(0))
    assert made == [16, 48]


def test_jit_fusion_is_turned_off() -> None:
    module = fake()

    class Eager(module.Network):  # type: ignore[name-defined,misc]
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments)
            self.jit_fusion = True

    backend = TinycudannBackend(SimpleNamespace(Network=Eager), "cpu")
    case = CASES[0]
    loss, _ = loss_and_grad(backend, case.spec, case.params(0), case.grid, case.target(0))
    assert np.isfinite(loss)
    assert backend._network is not None
    assert not backend._network.module.jit_fusion


def test_what_tinycudann_refuses_is_one_line() -> None:
    def refuse(*arguments: object) -> None:
        raise RuntimeError("compiled without forward / backward support\nmore of it")

    backend = TinycudannBackend(SimpleNamespace(Network=refuse), "cpu")
    case = CASES[0]
    with pytest.raises(CodecError, match="refused: compiled without forward / backward") as caught:
        backend.evaluate(case.spec, case.params(0), case.grid)
    assert "\n" not in str(caught.value)


def test_too_little_memory_is_one_line() -> None:
    def refuse(*arguments: object) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory\nmore of it")

    backend = TinycudannBackend(SimpleNamespace(Network=refuse), "cpu")
    case = CASES[0]
    with pytest.raises(CodecError, match="not enough free memory for the activations") as caught:
        backend.evaluate(case.spec, case.params(0), case.grid)
    assert "\n" not in str(caught.value)


def test_an_overflow_is_an_error() -> None:
    case = CASES[0]
    huge = np.full(case.grid.pixels * 3, 1e6, np.float32).reshape(-1, 3)
    with pytest.raises(CodecError, match="a gradient of tinycudann is not finite"):
        loss_and_grad(create(half=True), case.spec, case.params(0), case.grid, huge)


def test_without_tinycudann_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tinycudann", None)
    with pytest.raises(BackendUnavailable, match="tinycudann cannot be imported") as caught:
        backends.create("tinycudann", precision="auto")
    assert "\n" not in str(caught.value)


def test_a_module_that_finds_no_gpu_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "tinycudann.py").write_text("raise EnvironmentError('Unknown capability.\\nmore')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tinycudann", raising=False)
    with pytest.raises(BackendUnavailable, match=r"imported \(Unknown capability\.\)") as caught:
        backends.create("tinycudann", precision="float16")
    assert "\n" not in str(caught.value)


def test_a_torch_without_gpu_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tinycudann", fake())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BackendUnavailable, match="can use no GPU here; tinycudann runs on"):
        backends.create("tinycudann", precision="auto")


def test_doctor_lists_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tinycudann", None)
    states = doctor.examine()["backends"]
    assert list(states) == ["cpu", "cuda", "tinycudann", "torch"]
    assert states["tinycudann"].startswith("unavailable: tinycudann cannot be imported")


def test_another_precision_is_refused() -> None:
    with pytest.raises(BackendUnavailable, match="`backend` 'tinycudann' has no float32"):
        backends.create("tinycudann")


def test_encode_reports_what_decode_gives(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tinycudann, "TinycudannBackend", lambda: create(half=True))
    x, y = np.meshgrid(np.arange(40), np.arange(30))
    picture = np.stack([4 * x, 5 * y, 2 * x + 2 * y], axis=-1).astype(np.uint8)
    Image.fromarray(picture).save(tmp_path / "picture.png")
    config = make_config(backend="tinycudann", width=12, steps=200)
    encoded = encode_file(tmp_path / "picture.png", tmp_path / "picture.tcnn", config)
    decoded = tcnn_codec.decode((tmp_path / "picture.tcnn").read_bytes())
    assert (encoded.backend, encoded.precision) == ("tinycudann", "float16")
    assert encoded.psnr_db == psnr(picture, decoded)
    assert encoded.psnr_db > 25
