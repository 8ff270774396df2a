"""The fused CUDA backend: products in float16 summed in float32, everything else in float32."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import astuple, dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch

from tcnn_codec.coders.quantised import QuantisedTensor
from tcnn_codec.dtypes import F32, F64, U8, U32
from tcnn_codec.errors import BackendUnavailable, CodecError
from tcnn_codec.families.siren.backends.base import (
    check_loaded,
    native_constants,
    order_of,
    refuse_codes,
)
from tcnn_codec.families.siren.backends.inputs import (
    encode_axes,
    encode_axes_integers,
    native_integers,
    native_shape,
)
from tcnn_codec.families.siren.spec import SirenSpec
from tcnn_codec.grid import Grid
from tcnn_codec.training.batches import Batches
from tcnn_codec.training.codes import CodeLearning
from tcnn_codec.training.job import Job
from tcnn_codec.training.optimiser import BETA1, BETA2, OptimiserState

#: Float16 features of one axis, and a one, are padded to a multiple of this.
ENCODING_PAD = 8
#: Grids whose encodings stay on the device: a chunk's, and the coarse one that rounding samples.
ENCODINGS_KEPT = 2


@dataclass(frozen=True)
class Choices:
    """How kernels are launched; 0 leaves it to the backend. Results depend on it by roundings.

    group: blocks that work on one network. block: warps of a block, 1 to 8. warps: those that take
    pixels. tiles: rows of 16 pixels that such a warp takes at once, 1 or 2. graph: a CUDA graph of
    one kernel per phase instead of one cooperative kernel for all steps; changes no bit.
    """

    group: int = 0
    block: int = 0
    warps: int = 0
    tiles: int = 0
    graph: bool = False


#: Of a grid the axes' encodings on the device: float32, and float16 with a one.
_OnDevice = tuple[list[torch.Tensor], list[torch.Tensor]]


@dataclass(frozen=True)
class _Launch:
    """A native Plan and the memory that it works in."""

    plan: Any
    workspace: torch.Tensor


class CudaBackend:
    """device: its number. native: the module that runs the kernels, the installed one if None.

    Everything is ordered on torch's current stream of the device. Evaluating and training take the
    same products in float16. Raises BackendUnavailable where there is no such device or module.
    """

    name = "cuda"
    has_codes = False
    precision = "float16"

    def __init__(self, device: int = 0, choices: Choices | None = None, native: Any = None) -> None:
        self._native = native or _installed()
        if native is None and not torch.cuda.is_available():
            raise BackendUnavailable(
                f"torch {torch.__version__} can use no GPU here",
                "the cuda backend keeps its arrays in torch",
                "install a torch for this GPU, or choose `backend` cpu",
            )
        count = self._native.device_count()
        if not 0 <= device < count:
            raise BackendUnavailable(
                f"CUDA device is {device}",
                f"this process can use {count} of them, numbered from 0{_why_none(self._native)}",
                "check the driver with nvidia-smi, or choose `backend` cpu",
            )
        self._device = device
        self._torch_device = torch.device("cuda", device) if native is None else torch.device("cpu")
        self._choices = choices or Choices()
        self._info = self._native.DeviceInfo(device)
        self._encodings: dict[tuple[SirenSpec, Grid], _OnDevice] = {}

    @property
    def device(self) -> str:
        return f"sm_{self._info.major}{self._info.minor} {self._info.name}"

    def evaluate(self, spec: SirenSpec, params: F32, grid: Grid) -> F32:
        shape = (grid.pixels, spec.out_channels)
        with self._on_device():
            found: F32 = self._evaluate(spec, params, grid, shape, torch.float32).cpu().numpy()
        return found

    def render(self, spec: SirenSpec, params: F32, grid: Grid) -> U8:
        shape = (grid.frames, grid.height, grid.width, spec.out_channels)
        with self._on_device():
            found: U8 = self._evaluate(spec, params, grid, shape, torch.uint8).cpu().numpy()
        return found

    def _evaluate(
        self,
        spec: SirenSpec,
        params: F32,
        grid: Grid,
        shape: tuple[int, ...],
        dtype: torch.dtype,
    ) -> torch.Tensor:
        job = self._job(spec, self.put(params), grid)
        out: torch.Tensor = self._empty(shape, dtype)
        job.set_pixels(out)
        self._call(self._native.evaluate, [job], self._launch([job], 0))
        return out

    def loss_and_grad(
        self, job: Job[SirenSpec], params: F32, indices: U32 | None = None
    ) -> tuple[float, F32]:
        with self._on_device():
            return self._loss_and_grad(job, params, self.put(job.target), indices)

    def vjp(self, spec: SirenSpec, params: F32, grid: Grid, output_gradient: F32) -> F32:
        # The kernels differentiate the squared error: of a target that the output misses by a
        # multiple of output_gradient. The multiple's largest value is 1, since float16 has few.
        given = np.ascontiguousarray(output_gradient, np.float32).reshape(-1, spec.out_channels)
        largest = float(np.abs(given).max())
        if largest == 0:
            return np.zeros(spec.parameter_count, np.float32)
        with self._on_device():
            output = self._evaluate(spec, params, grid, given.shape, torch.float32)
            target = output - self.put(given / np.float32(largest))
            job = Job(spec, grid, given)
            _, gradient = self._loss_and_grad(job, params, target, None)
        found: F32 = gradient * np.float32(largest * given.size / 2)
        return found

    def _loss_and_grad(
        self, job: Job[SirenSpec], params: F32, target: torch.Tensor, indices: U32 | None
    ) -> tuple[float, F32]:
        spec, count = job.spec, job.grid.pixels if indices is None else len(indices)
        native = self._job(spec, self.put(params), job.grid)
        native.set_target(target, None if indices is None else self.put_order(indices, job.grid))
        gradient, losses = self._empty(spec.parameter_count), self._empty(1)
        native.set_gradient(gradient)
        native.set_steps(self.put(_steps([(0, 1)], np.zeros(1, np.float32), 0)), losses)
        self._call(self._native.loss_and_grad, [native], self._launch([native], count))
        return float(losses.item()) / (count * spec.out_channels), gradient.cpu().numpy()

    def trainer(
        self, job: Job[SirenSpec], state: OptimiserState, learning: CodeLearning | None = None
    ) -> CudaTrainer:
        with self._on_device():
            return CudaTrainer(self, job, state)

    def steps_together(
        self,
        trainers: Sequence[CudaTrainer],
        batches: Sequence[Batches],
        learning_rates: F32,
    ) -> list[F64]:
        """Trainer.steps of several networks of one shape side by side; the losses of each.

        All take as many steps of as many pixels, and the same weight of the rate term.
        """
        count, steps = batches[0].count, len(batches[0].starts)
        with self._on_device():
            natives, found = [], []
            for trainer, drawn in zip(trainers, batches, strict=True):
                losses = self._empty(steps)
                words = _steps(drawn.starts, learning_rates, trainer.steps_done)
                trainer.native.set_steps(self.put(words), losses)
                natives.append(trainer.native)
                found.append(losses)
            launches = trainers[0].launches if len(trainers) == 1 else {}
            if count not in launches:
                launches[count] = self._launch(natives, count)
            constants = native_constants(self._native, trainers[0].rate_weight)
            self._call(self._native.fit_steps, natives, launches[count], constants)
            for trainer in trainers:
                trainer.steps_done += steps
            values = count * trainers[0].out_channels
            return [losses.cpu().numpy().astype(np.float64) / values for losses in found]

    def renderer(self) -> CudaRenderer:
        return CudaRenderer(self)

    def render_integers(
        self, spec: SirenSpec, tensors: Sequence[QuantisedTensor], grid: Grid
    ) -> U8:
        """The samples that every decoder shows, uint8 [frames, height, width, channels]."""
        shape = native_shape(self._native, spec)
        values, multipliers = native_integers(spec, tensors)
        sizes = grid.axis_sizes(spec.axes)
        with self._on_device():
            out = self._empty(
                (grid.frames, grid.height, grid.width, spec.out_channels), torch.uint8
            )
            workspace = self._empty(self._native.integer_workspace(shape, sizes), torch.uint8)
            with self._refusals():
                self._native.render_integers(
                    device=self._device,
                    info=self._info,
                    shape=shape,
                    values=values,
                    multipliers=multipliers,
                    axes=encode_axes_integers(spec, grid, tensors),
                    workspace=workspace,
                    out=out,
                    stream=self._stream(),
                )
            found: U8 = out.cpu().numpy()
        return found

    # ---- arrays on the device ----------------------------------------------------------------

    def put(self, array: Any) -> torch.Tensor:
        with gpu_memory(f"{np.size(array)} values of {array.dtype}"):
            return torch.tensor(array, device=self._torch_device)

    def put_order(self, order: U32, grid: Grid) -> torch.Tensor:
        if order.max() >= grid.pixels:
            raise ValueError(
                f"largest pixel index is {order.max()}; allowed are 0 to {grid.pixels - 1}"
            )
        return self.put(order.view(np.int32))

    def _empty(self, shape: int | tuple[int, ...], dtype: torch.dtype = torch.float32) -> Any:
        with gpu_memory(f"{np.prod(shape)} values of {dtype}"):
            return torch.empty(shape, dtype=dtype, device=self._torch_device)

    # ---- native calls ------------------------------------------------------------------------

    def _job(self, spec: SirenSpec, params: torch.Tensor, grid: Grid) -> Any:
        refuse_codes(spec, self.name)
        return self._native.Job(
            native_shape(self._native, spec), self._device, params, *self._encoded(spec, grid)
        )

    def _encoded(self, spec: SirenSpec, grid: Grid) -> _OnDevice:
        """The axes' encodings on the device, where those of the last grids still are."""
        key = (spec, grid)
        if key not in self._encodings:
            axes = encode_axes(spec, grid)
            sent = [self.put(axis) for axis in axes], [self.put(one) for one in _with_ones(axes)]
            kept = list(self._encodings.items())[1 - ENCODINGS_KEPT :]
            self._encodings = {**dict(kept), key: sent}
        return self._encodings[key]

    def _launch(self, jobs: list[Any], count: int) -> _Launch:
        """How jobs run. count: pixels of a batch, or 0 for evaluating."""
        with self._refusals():
            plan = self._native.Plan(self._info, jobs, count, *astuple(self._choices))
        return _Launch(plan, self._empty(plan.workspace_bytes, torch.uint8))

    def _call(self, function: Any, jobs: list[Any], launch: _Launch, *constants: Any) -> None:
        """function(jobs, constants, plan, workspace, stream)."""
        with self._refusals():
            function(jobs, *constants, launch.plan, launch.workspace, self._stream())

    def _stream(self) -> int:
        if self._torch_device.type != "cuda":
            return 0
        stream: int = torch.cuda.current_stream(self._torch_device).cuda_stream
        return stream

    def _on_device(self) -> Any:
        """torch hands out arrays of its current device only."""
        on_gpu = self._torch_device.type == "cuda"
        return torch.cuda.device(self._torch_device) if on_gpu else nullcontext()

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        """What the device refuses becomes a CodecError."""
        try:
            yield
        except self._native.DeviceError as error:
            raise CodecError(
                f"the GPU refused: {error}",
                "it must run the kernels of this build",
                "choose `backend` cpu, or rebuild for this GPU",
            ) from None


class CudaRenderer:
    """A contract.Renderer. To be used from `CudaBackend.renderer`."""

    def __init__(self, backend: CudaBackend) -> None:
        self._backend = backend

    def render(self, spec: SirenSpec, tensors: Sequence[QuantisedTensor], grid: Grid) -> U8:
        """Raises ValueError for tensors that no file may have."""
        return self._backend.render_integers(spec, tensors, grid)


class CudaTrainer:
    """A Trainer whose pixels, parameters and moments lie on the device.

    launches: how steps run, by the pixels of a batch. To be used from `CudaBackend.trainer`.
    """

    def __init__(self, backend: CudaBackend, job: Job[SirenSpec], state: OptimiserState) -> None:
        self._backend = backend
        self.rate_weight, self.steps_done = state.rate_weight, state.steps_done
        self.out_channels = job.spec.out_channels
        self.launches: dict[int, _Launch] = {}
        self._params, self._mean, self._variance = (
            backend.put(array) for array in (state.params, state.mean, state.variance)
        )
        self._scales = None if state.scales is None else backend.put(state.scales)
        self.native = backend._job(job.spec, self._params, job.grid)
        order = backend.put_order(order_of(job), job.grid)
        self.native.set_target(backend.put(job.target), order)
        self.native.set_optimiser(self._mean, self._variance, self._scales)

    def steps(self, batches: Batches, learning_rates: F32) -> F64:
        return self._backend.steps_together([self], [batches], learning_rates)[0]

    def state(self) -> OptimiserState:
        tensors = self._params, self._mean, self._variance
        params, mean, variance = (tensor.cpu().numpy().copy() for tensor in tensors)
        scales = None if self._scales is None else self._scales.cpu().numpy().copy()
        return OptimiserState(params, mean, variance, self.rate_weight, scales, self.steps_done)

    def load(self, state: OptimiserState) -> None:
        check_loaded(state, scaled=self._scales is not None)
        self._params.copy_(torch.from_numpy(state.params))
        if self._scales is not None:
            self._scales.copy_(torch.from_numpy(state.scales))


@contextmanager
def gpu_memory(wanted: str) -> Iterator[None]:
    """What does not fit into the GPU's memory becomes a CodecError."""
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        raise CodecError(
            f"the GPU has not enough free memory for {wanted}",
            "it must hold the pixels of a chunk and the workspace",
            "free some, lower `chunk_frames`, or choose `backend` cpu",
        ) from error


def _installed() -> Any:
    if find_spec("tcnn_codec._cuda") is None:
        raise BackendUnavailable(
            "the native module tcnn_codec._cuda was not built",
            remedy=(
                "rebuild where there is nvcc with `TCNN_CODEC_CUDA=ON pip install -e .`, or choose "
                "`backend` cpu"
            ),
        )
    try:
        from tcnn_codec import _cuda
    except ImportError as error:
        raise BackendUnavailable(
            f"the native module tcnn_codec._cuda cannot be loaded ({error})",
            remedy="rebuild it with `TCNN_CODEC_CUDA=ON pip install -e .`, or choose `backend` cpu",
        ) from error
    return _cuda


def _why_none(native: Any) -> str:
    """What the driver says of the first device, in brackets; nothing where it is there."""
    try:
        native.DeviceInfo(0)
    except native.DeviceError as error:
        return f" ({error})"
    return ""


def _with_ones(axes: Sequence[F32]) -> Iterator[Any]:
    """float16 [size, features, then 1, then zeros] of each axis, as many columns of all.

    Gradients of biases come from the ones.
    """
    most = max(axis.shape[1] for axis in axes)
    columns = -(-(most + 1) // ENCODING_PAD) * ENCODING_PAD
    for axis in axes:
        size, features = axis.shape
        padded = np.zeros((size, columns), np.float16)
        padded[:, :features] = axis
        padded[:, features] = 1
        yield padded


def _steps(starts: Sequence[tuple[int, int]], rates: F32, done: int) -> Any:
    """What kernels read of each step, int32 [steps, 5]: Job.steps in csrc/siren/cuda/engine.h."""
    words = np.empty((len(starts), 5), np.int32)
    words[:, :2] = np.array(starts, np.uint32).view(np.int32)
    power = done + 1 + np.arange(len(starts))
    floats = np.empty((len(starts), 3), np.float32)
    floats[:, 0] = rates
    floats[:, 1] = rates / (1 - BETA1**power)
    floats[:, 2] = (1 - BETA2**power) ** -0.5
    words[:, 2:] = floats.view(np.int32)
    return words
