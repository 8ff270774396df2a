"""NVIDIA's tiny-cuda-nn, where a user has its PyTorch bindings: its CutlassMLP trains sine.

Its own rules (github.com/NVlabs/tiny-cuda-nn, src/cutlass_mlp.cu): products in float16 with sums
in float16, no biases, every pre-activation and activation through device memory. Its
FullyFusedMLP refuses sine; its JIT fusion trains it wrongly without a word, and is refused here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from tcnn_codec.dtypes import F32, U8, U32
from tcnn_codec.errors import BackendUnavailable, CodecError
from tcnn_codec.families.siren.backends.base import PlainTrainer, refuse_codes, to_pixels
from tcnn_codec.families.siren.backends.cuda import gpu_memory
from tcnn_codec.families.siren.backends.inputs import encode_axes
from tcnn_codec.families.siren.backends.reference import ReferenceBackend, encode_pixels
from tcnn_codec.families.siren.spec import SirenSpec
from tcnn_codec.families.siren.start import initialise
from tcnn_codec.grid import Grid
from tcnn_codec.training.codes import CodeLearning
from tcnn_codec.training.job import Job
from tcnn_codec.training.optimiser import OptimiserState

#: Widths and numbers of inputs and outputs are padded to a multiple of this.
PAD = 16
#: Pixels that go through the network at once: a batch of the encoder.
PIECE = 1 << 13
#: A piece's mean squared error is scaled by this while it is differentiated. With errors of one
#: level of 255 a piece's deltas are then near 2^-11 in the output and 2^-17 in hidden layers: the
#: gradient errs by 0.006, where large errors give 0.003; unscaled it would be noise. Weight
#: gradients overflow where those of the mean reach 64.
LOSS_SCALE = 1024.0
#: Relative error of the gradient that `_check_gradient` allows. Values kept in float16 make 0.002
#: there, a derivative of sine taken at the sine 0.9 and more.
GRADIENT_TOLERANCE = 0.05


@dataclass(frozen=True)
class Layout:
    """Where a SIREN's parameters lie in those of a CutlassMLP, [out, in] after [out, in].

    Biases are weights of a feature that is 1. One more neuron passes it on from layer to layer,
    through sin(pi / 2) = 1:

        inputs, 1, 0 …  ->  neurons, 1, 0 …  ->  neurons, 1, 0 …  ->  outputs, 0 …

    base: float32 [their parameters], what is not ours: pi / 2 on the way of that 1, else 0.
    places: int64 [parameter_count], of each of ours. factors: float32, theirs are ours times this:
    w0, or 1 in the output layer.
    """

    inputs: int
    width: int
    base: torch.Tensor
    places: torch.Tensor
    factors: torch.Tensor

    @classmethod
    def of(cls, spec: SirenSpec, device: str) -> Layout:
        columns = [_padded(sum(spec.axis_features) + 1)]
        columns += (spec.hidden_layers + 1) * [_padded(spec.width + 1)]
        rows = [*columns[1:], _padded(spec.out_channels)]
        starts = np.concatenate([[0], np.cumsum(np.multiply(rows, columns))])
        base = np.zeros(starts[-1], np.float32)
        places = np.empty(spec.parameter_count, np.int64)
        factors = np.empty(spec.parameter_count, np.float32)
        for layer, (outputs, inputs) in enumerate(spec.layer_shapes):
            weight, bias = spec.tensors[2 * layer : 2 * layer + 2]
            at = starts[layer] + np.arange(outputs) * columns[layer]
            places[weight.place] = (at[:, None] + np.arange(inputs)).ravel()
            places[bias.place] = at + inputs
            last = layer == spec.hidden_layers + 1
            factors[weight.place] = factors[bias.place] = 1 if last else spec.w0
            if not last:
                base[starts[layer] + outputs * columns[layer] + inputs] = np.pi / 2
        base_, places_, factors_ = (torch.tensor(a, device=device) for a in (base, places, factors))
        return cls(columns[0], columns[1], base_, places_, factors_)

    def theirs(self, params: torch.Tensor) -> torch.Tensor:
        found = self.base.clone()
        found[self.places] = self.factors * params
        return found

    def ours(self, gradient: torch.Tensor) -> torch.Tensor:
        """The gradient by our parameters."""
        return self.factors * gradient[self.places]


def cutlass_mlp(module: Any, spec: SirenSpec, inputs: int, width: int) -> Any:
    """tinycudann's network with as many sine layers and outputs as spec, without JIT fusion."""
    network = module.Network(
        inputs,
        spec.out_channels,
        {
            "otype": "CutlassMLP",
            "activation": "Sine",
            "output_activation": "None",
            "n_neurons": width,
            "n_hidden_layers": spec.hidden_layers + 1,
        },
    )
    if hasattr(network, "jit_fusion"):
        network.jit_fusion = False
    return network


@dataclass(frozen=True)
class _Network:
    spec: SirenSpec
    layout: Layout
    module: Any


@dataclass(frozen=True)
class _Chunk:
    """What a chunk's pixels should be, float32 [pixels, out_channels], and the encodings of its
    axes, on the device."""

    wanted: torch.Tensor
    encodings: tuple[torch.Tensor, ...]


class TinycudannBackend:
    """module: tinycudann or what looks like it, the installed one if None. device: torch's.

    Raises BackendUnavailable where there is none, or no GPU.
    """

    name = "tinycudann"
    has_codes = False
    precision = "float16"

    def __init__(self, module: Any = None, device: str = "cuda") -> None:
        self._module = module or _installed()
        self._device = device
        self._network: _Network | None = None  # of the last call
        self._checked = False

    @property
    def device(self) -> str:
        if self._device == "cpu":
            return "tinycudann on the CPU"
        return f"tinycudann on {torch.cuda.get_device_name(self._device)}"

    def evaluate(self, spec: SirenSpec, params: F32, grid: Grid) -> F32:
        with _refusals(), torch.no_grad():
            network = self._loaded(spec, params)
            encodings = self._encoded(spec, grid)
            pixels = torch.arange(grid.pixels, device=self._device)
            found = [
                network.module(self._inputs(network, grid, encodings, part)).float()
                for part in torch.split(pixels, PIECE)
            ]
            output: F32 = torch.cat(found).cpu().numpy()
        return output

    def render(self, spec: SirenSpec, params: F32, grid: Grid) -> U8:
        return to_pixels(spec, grid, self.evaluate(spec, params, grid))

    def loss_and_grad(
        self, job: Job[SirenSpec], params: F32, indices: U32 | None = None
    ) -> tuple[float, F32]:
        self._check_gradient()
        return self._loss_and_grad(job, self._send(job), params, indices)

    def vjp(self, spec: SirenSpec, params: F32, grid: Grid, output_gradient: F32) -> F32:
        self._check_gradient()
        given = np.ascontiguousarray(output_gradient, np.float32).reshape(-1, spec.out_channels)
        largest = float(np.abs(given).max())
        if largest == 0:
            return np.zeros(spec.parameter_count, np.float32)
        # As large as float16 likes it best: what one pixel of a piece has of a mean.
        factor = LOSS_SCALE / (largest * PIECE)
        with _refusals():
            wanted = torch.tensor(given, device=self._device)
            encodings = self._encoded(spec, grid)
            network = self._loaded(spec, params)
            pixels = torch.arange(grid.pixels, device=self._device)
            gradient = torch.zeros_like(network.layout.base)
            for part in torch.split(pixels, PIECE):
                network.module.params.grad = None
                output = network.module(self._inputs(network, grid, encodings, part))
                (factor * (output.float() * wanted[part]).sum()).backward()
                gradient += network.module.params.grad.float() / factor
            return self._ours(network, gradient)

    def trainer(
        self, job: Job[SirenSpec], state: OptimiserState, learning: CodeLearning | None = None
    ) -> PlainTrainer:
        self._check_gradient()
        return PlainTrainer(partial(self._loss_and_grad, job, self._send(job)), job, state)

    # ---- one network ---------------------------------------------------------------------------

    def _loss_and_grad(
        self, job: Job[SirenSpec], chunk: _Chunk, params: F32, indices: U32 | None
    ) -> tuple[float, F32]:
        with _refusals():
            network = self._loaded(job.spec, params)
            if indices is None:
                pixels = torch.arange(job.grid.pixels, device=self._device)
            else:
                pixels = torch.tensor(indices.astype(np.int64), device=self._device)
            loss, gradient = 0.0, torch.zeros_like(network.layout.base)
            for part in torch.split(pixels, PIECE):
                network.module.params.grad = None
                output = network.module(self._inputs(network, job.grid, chunk.encodings, part))
                mean = (output.float() - chunk.wanted[part]).square().mean()
                (LOSS_SCALE * mean).backward()
                share = len(part) / len(pixels)
                loss += share * mean.item()
                gradient += share / LOSS_SCALE * network.module.params.grad.float()
            return loss, self._ours(network, gradient)

    def _ours(self, network: _Network, gradient: torch.Tensor) -> F32:
        found: F32 = network.layout.ours(gradient).cpu().numpy()
        if not np.isfinite(found).all():
            raise CodecError(
                "a gradient of tinycudann is not finite: its float16 ends at 65504",
                remedy="choose `backend` cuda or cpu",
            )
        return found

    def _loaded(self, spec: SirenSpec, params: F32) -> _Network:
        """The network of spec with these parameters."""
        if self._network is None or self._network.spec != spec:
            layout = Layout.of(spec, self._device)
            module = cutlass_mlp(self._module, spec, layout.inputs, layout.width).to(self._device)
            module.loss_scale = 1.0  # it would be divided out in float16; LOSS_SCALE is not
            if module.params.numel() != layout.base.numel():
                raise RuntimeError(
                    f"a network has {module.params.numel()} parameters; expected "
                    f"{layout.base.numel()}"
                )
            self._network = _Network(spec, layout, module)
        network = self._network
        with torch.no_grad():
            network.module.params.copy_(
                network.layout.theirs(torch.tensor(params, device=self._device))
            )
        return network

    def _inputs(
        self,
        network: _Network,
        grid: Grid,
        encodings: tuple[torch.Tensor, ...],
        pixels: torch.Tensor,
    ) -> torch.Tensor:
        """Encoded coordinates, 1, zeros: float32 [pixels, layout.inputs]."""
        features = encode_pixels(grid, encodings, pixels)
        inputs = torch.zeros((len(pixels), network.layout.inputs), device=self._device)
        inputs[:, : features.shape[1]] = features
        inputs[:, features.shape[1]] = 1
        return inputs

    # ---- arrays on the device ------------------------------------------------------------------

    def _encoded(self, spec: SirenSpec, grid: Grid) -> tuple[torch.Tensor, ...]:
        refuse_codes(spec, self.name)
        return tuple(torch.tensor(a, device=self._device) for a in encode_axes(spec, grid))

    def _send(self, job: Job[SirenSpec]) -> _Chunk:
        target = job.target.reshape(-1, job.spec.out_channels)
        with gpu_memory(f"{target.size} values of a target"):
            wanted = torch.tensor(target, device=self._device)
            if wanted.dtype == torch.uint8:
                wanted = wanted * (2 / 255) - 1
            return _Chunk(wanted, self._encoded(job.spec, job.grid))

    # ---- refusals ------------------------------------------------------------------------------

    def _check_gradient(self) -> None:
        """Raises BackendUnavailable where tinycudann differentiates sine wrongly; once."""
        if self._checked:
            return
        job, params = small_case()
        found = self._loss_and_grad(job, self._send(job), params, None)[1]
        expected = ReferenceBackend().loss_and_grad(job, params)[1]
        error = np.linalg.norm(found - expected) / np.linalg.norm(expected)
        if not error < GRADIENT_TOLERANCE:
            raise BackendUnavailable(
                f"tinycudann's gradient of a sine network is wrong by {error:.0%}",
                f"allowed is {GRADIENT_TOLERANCE:.0%}",
                "its JIT fusion differentiates sine at the sine: use a build that trains "
                "without it, or choose `backend` cuda or cpu",
            )
        self._checked = True


def small_case() -> tuple[Job[SirenSpec], F32]:
    """A job and parameters for the check of a gradient."""
    spec, grid = SirenSpec(width=15, hidden_layers=2, frequencies=4), Grid(16, 16)
    target = np.random.default_rng(0).integers(0, 256, (grid.pixels, 3), dtype=np.uint8)
    return Job(spec, grid, target), initialise(spec, 0)


def _padded(count: int) -> int:
    return -(-count // PAD) * PAD


@contextmanager
def _refusals() -> Iterator[None]:
    """What tinycudann refuses becomes a CodecError."""
    try:
        with gpu_memory(f"the activations of {PIECE} pixels"):
            yield
    except RuntimeError as error:
        reason = (str(error) or repr(error)).splitlines()[0]
        raise CodecError(
            f"tinycudann refused: {reason}",
            "it must train its CutlassMLP with sine, without JIT fusion",
            "rebuild it, or choose `backend` cuda or cpu",
        ) from error


def _installed() -> Any:
    try:
        import tinycudann  # type: ignore[import-not-found]
    except (ImportError, OSError) as error:  # OSError: it finds no GPU
        reason = (str(error) or repr(error)).splitlines()[0]
        raise BackendUnavailable(
            f"tinycudann cannot be imported ({reason})",
            "it must be installed for this GPU (github.com/NVlabs/tiny-cuda-nn)",
            "install it, or choose `backend` cuda or cpu",
        ) from None
    if not torch.cuda.is_available():
        raise BackendUnavailable(
            f"torch {torch.__version__} can use no GPU here",
            "tinycudann runs on nothing else",
            "install a torch for this GPU, or choose `backend` cpu",
        )
    return tinycudann
