"""The fused CUDA backend: products in float16 summed in float32, everything else in float32."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import astuple, dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch

from tcnn_codec.backends.base import F64, U8, U32, Target, encode_axes, native_shape
from tcnn_codec.errors import BackendUnavailable, CodecError
from tcnn_codec.siren import F32, Grid, SirenSpec
from tcnn_codec.training.batches import Batches
from tcnn_codec.training.optimiser import BETA1, BETA2, EPSILON, FLOOR, MOMENTUM, OptimiserState

#: Float16 features of one axis, and a one, are padded to a multiple of this.
ENCODING_PAD = 8


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


@dataclass(frozen=True)
class _Chunk:
    """A target and an order of its pixels, and their copies on the device."""

    target: Target
    order: U32 | None
    on_device: tuple[torch.Tensor, torch.Tensor | None]


@dataclass(frozen=True)
class _Encodings:
    """Of the axes of a grid, and on the device: float32, and float16 with a one."""

    axes: tuple[F32, ...]
    on_device: tuple[list[torch.Tensor], list[torch.Tensor]]


class CudaBackend:
    """device: its number. native: the module that runs the kernels, the installed one if None.

    Everything is ordered on torch's current stream of the device. Evaluating and training take the
    same products in float16. A target and an order that the call before had too are taken to be
    unchanged. Raises BackendUnavailable where there is no such device or module.
    """

    name = "cuda"
    precision = "float16"

    def __init__(self, device: int = 0, choices: Choices | None = None, native: Any = None) -> None:
        self._native = native or _installed()
        if native is None and not torch.cuda.is_available():
            raise BackendUnavailable(
                f"torch {torch.__version__} can use no GPU here; the cuda backend keeps its arrays "
                "in torch; install a torch for this GPU, or choose --backend cpu"
            )
        count = self._native.device_count()
        if not 0 <= device < count:
            raise BackendUnavailable(
                f"CUDA device is {device}; this process can use {count} of them, numbered from 0"
                f"{_why_none(self._native)}; check the driver with nvidia-smi, or choose "
                "--backend cpu"
            )
        self._device = device
        self._torch_device = torch.device("cuda", device) if native is None else torch.device("cpu")
        self._choices = choices or Choices()
        self._info = self._native.DeviceInfo(device)
        # Of the last call: the next one has the same.
        self._chunks: tuple[_Chunk, ...] = ()
        self._encodings: list[_Encodings] = []

    @property
    def isa(self) -> str:
        return f"sm_{self._info.major}{self._info.minor} {self._info.name}"

    def evaluate(self, spec: SirenSpec, params: F32, grid: Grid) -> F32:
        shape = (grid.pixels, spec.out_channels)
        found: F32 = self._evaluate(spec, params, grid, shape, torch.float32)
        return found

    def render(self, spec: SirenSpec, params: F32, grid: Grid) -> U8:
        shape = (grid.frames, grid.height, grid.width, spec.out_channels)
        found: U8 = self._evaluate(spec, params, grid, shape, torch.uint8)
        return found

    def _evaluate(
        self,
        spec: SirenSpec,
        params: F32,
        grid: Grid,
        shape: tuple[int, ...],
        dtype: torch.dtype,
    ) -> Any:
        with self._on_device():
            job = self._job(spec, self._put(params), grid)
            out = self._empty(shape, dtype)
            job.set_pixels(out)
            self._call(self._native.evaluate, [job], 0)
            return out.cpu().numpy()

    def loss_and_grad(
        self, spec: SirenSpec, params: F32, grid: Grid, target: Target, indices: U32 | None = None
    ) -> tuple[float, F32]:
        count = grid.pixels if indices is None else len(indices)
        with self._on_device():
            job = self._job(spec, self._put(params), grid)
            job.set_target(*self._send(target, indices, grid).on_device)
            gradient, losses = self._empty(spec.parameter_count), self._empty(1)
            job.set_gradient(gradient)
            job.set_steps(self._put(_steps([(0, 1)], np.zeros(1, np.float32), 0)), losses)
            self._call(self._native.loss_and_grad, [job], count)
            loss = float(losses.item()) / (count * spec.out_channels)
            return loss, gradient.cpu().numpy()

    def fit_steps(
        self,
        spec: SirenSpec,
        state: OptimiserState,
        grid: Grid,
        target: Target,
        batches: Batches,
        learning_rates: F32,
        scales: F32 | None = None,
    ) -> F64:
        (losses,) = self.fit_steps_of_many(
            spec, [state], [grid], [target], [batches], learning_rates, [scales]
        )
        return losses

    def fit_steps_of_many(
        self,
        spec: SirenSpec,
        states: Sequence[OptimiserState],
        grids: Sequence[Grid],
        targets: Sequence[Target],
        batches: Sequence[Batches],
        learning_rates: F32,
        scales: Sequence[F32 | None],
    ) -> list[F64]:
        """fit_steps of several networks of one shape side by side; the losses of each.

        All take as many steps of as many pixels, and the same weight of the rate term.
        """
        with self._on_device():
            return self._fit(spec, states, grids, targets, batches, learning_rates, scales)

    def _fit(
        self,
        spec: SirenSpec,
        states: Sequence[OptimiserState],
        grids: Sequence[Grid],
        targets: Sequence[Target],
        batches: Sequence[Batches],
        learning_rates: F32,
        scales: Sequence[F32 | None],
    ) -> list[F64]:
        count, steps = batches[0].count, len(batches[0].starts)
        jobs, moved, found, chunks = [], [], [], []
        for state, grid, target, drawn, scale in zip(
            states, grids, targets, batches, scales, strict=True
        ):
            tensors = [self._put(array) for array in (state.params, state.mean, state.variance)]
            losses = self._empty(steps)
            job = self._job(spec, tensors[0], grid)
            chunks.append(self._send(target, drawn.order, grid))
            job.set_target(*chunks[-1].on_device)
            job.set_optimiser(*tensors[1:], None if scale is None else self._put(scale))
            job.set_steps(self._put(_steps(drawn.starts, learning_rates, state.step)), losses)
            jobs.append(job)
            moved.append(tensors)
            found.append(losses)
        self._chunks = tuple(chunks)
        constants = BETA1, BETA2, EPSILON, MOMENTUM, states[0].rate_weight, FLOOR
        self._call(self._native.fit_steps, jobs, count, *constants)
        for state, tensors in zip(states, moved, strict=True):
            for array, tensor in zip(
                (state.params, state.mean, state.variance), tensors, strict=True
            ):
                array[:] = tensor.cpu().numpy()
            state.step += steps
        values = count * spec.out_channels
        return [losses.cpu().numpy().astype(np.float64) / values for losses in found]

    # ---- arrays on the device ----------------------------------------------------------------

    def _put(self, array: Any) -> torch.Tensor:
        with gpu_memory(f"{np.size(array)} values of {array.dtype}"):
            return torch.tensor(array, device=self._torch_device)

    def _empty(self, shape: int | tuple[int, ...], dtype: torch.dtype = torch.float32) -> Any:
        with gpu_memory(f"{np.prod(shape)} values of {dtype}"):
            return torch.empty(shape, dtype=dtype, device=self._torch_device)

    def _send(self, target: Target, order: U32 | None, grid: Grid) -> _Chunk:
        """Both on the device, where those of the last call still are."""
        for chunk in self._chunks:
            if chunk.target is target and chunk.order is order:
                return chunk
        if order is not None and order.max() >= grid.pixels:
            raise ValueError(
                f"largest pixel index is {order.max()}; allowed are 0 to {grid.pixels - 1}"
            )
        indices = None if order is None else self._put(order.view(np.int32))
        return _Chunk(target, order, (self._put(target), indices))

    # ---- native calls ------------------------------------------------------------------------

    def _job(self, spec: SirenSpec, params: torch.Tensor, grid: Grid) -> Any:
        return self._native.Job(
            native_shape(self._native, spec), self._device, params, *self._encoded(spec, grid)
        )

    def _encoded(self, spec: SirenSpec, grid: Grid) -> tuple[list[torch.Tensor], ...]:
        """On the device, where those of the last calls still are."""
        axes = encode_axes(spec, grid)
        for encodings in self._encodings:
            if encodings.axes is axes:
                return encodings.on_device
        sent = [self._put(axis) for axis in axes], [self._put(_with_one(axis)) for axis in axes]
        self._encodings = [*self._encodings[-1:], _Encodings(axes, sent)]
        return sent

    def _call(self, function: Any, jobs: list[Any], count: int, *constants: float) -> None:
        """function(jobs, constants, plan, workspace, stream); count: pixels of a batch, or 0."""
        choices, stream = self._choices, 0
        if self._torch_device.type == "cuda":
            stream = torch.cuda.current_stream(self._torch_device).cuda_stream
        with self._refusals():
            plan = self._native.Plan(self._info, jobs, count, *astuple(choices))
            workspace = self._empty(plan.workspace_bytes, torch.uint8)
            function(jobs, *constants, plan, workspace, stream)

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
                f"the GPU refused: {error}; it must run the kernels of this build; "
                "choose --backend cpu, or rebuild for this GPU"
            ) from None


@contextmanager
def gpu_memory(wanted: str) -> Iterator[None]:
    """What does not fit into the GPU's memory becomes a CodecError."""
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        raise CodecError(
            f"the GPU has not enough free memory for {wanted}; it must hold the pixels of a chunk "
            "and the workspace; free some, lower --chunk-frames, or choose --backend cpu"
        ) from error


def _installed() -> Any:
    if find_spec("tcnn_codec._cuda") is None:
        raise BackendUnavailable(
            "the native module tcnn_codec._cuda was not built; rebuild where there is nvcc with "
            "`TCNN_CODEC_CUDA=ON pip install -e .`, or choose --backend cpu"
        )
    try:
        from tcnn_codec import _cuda
    except ImportError as error:
        raise BackendUnavailable(
            f"the native module tcnn_codec._cuda cannot be loaded ({error}); "
            "rebuild it with `TCNN_CODEC_CUDA=ON pip install -e .`, or choose --backend cpu"
        ) from error
    return _cuda


def _why_none(native: Any) -> str:
    """What the driver says of the first device, in brackets; nothing where it is there."""
    try:
        native.DeviceInfo(0)
    except native.DeviceError as error:
        return f" ({error})"
    return ""


def _with_one(encoding: F32) -> Any:
    """float16 [size, features, then 1, then zeros]; gradients of biases come from the ones."""
    size, features = encoding.shape
    padded = np.zeros((size, -(-(features + 1) // ENCODING_PAD) * ENCODING_PAD), np.float16)
    padded[:, :features] = encoding
    padded[:, features] = 1
    return padded


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
