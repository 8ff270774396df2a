"""Types of the native CUDA module, by csrc/siren/cuda/engine.h; arrays go by DLPack."""

from collections.abc import Sequence
from typing import Any

class DeviceError(RuntimeError): ...

def device_count() -> int: ...

class DeviceInfo:
    def __init__(self, device: int) -> None: ...
    @property
    def name(self) -> str: ...
    @property
    def major(self) -> int: ...
    @property
    def minor(self) -> int: ...

class SirenShape:
    def __init__(
        self,
        *,
        axes: int,
        features: int,
        hidden_layers: int,
        width: int,
        out_channels: int,
        w0: float,
    ) -> None: ...
    @property
    def parameter_count(self) -> int: ...

class OptimiserConstants:
    def __init__(
        self,
        *,
        beta1: float,
        beta2: float,
        epsilon: float,
        momentum: float,
        rate_weight: float,
        rate_floor: float,
    ) -> None: ...

class Job:
    def __init__(
        self,
        shape: SirenShape,
        device: int,
        params: Any,
        encodings: Sequence[Any],
        encodings16: Sequence[Any],
    ) -> None: ...
    def set_target(self, target: Any, order: Any | None) -> None: ...
    def set_optimiser(self, mean: Any, variance: Any, scales: Any | None) -> None: ...
    def set_steps(self, steps: Any, losses: Any) -> None: ...
    def set_gradient(self, gradient: Any) -> None: ...
    def set_pixels(self, pixels: Any) -> None: ...

class Plan:
    def __init__(
        self,
        info: DeviceInfo,
        jobs: Sequence[Job],
        count: int,
        group: int = 0,
        block: int = 0,
        warps: int = 0,
        tiles: int = 0,
        graph: bool = False,
    ) -> None: ...
    @property
    def workspace_bytes(self) -> int: ...

def fit_steps(
    jobs: Sequence[Job],
    constants: OptimiserConstants,
    plan: Plan,
    workspace: Any,
    stream: int,
) -> None: ...
def loss_and_grad(jobs: Sequence[Job], plan: Plan, workspace: Any, stream: int) -> None: ...
def evaluate(jobs: Sequence[Job], plan: Plan, workspace: Any, stream: int) -> None: ...
def integer_workspace(shape: SirenShape, sizes: Sequence[int]) -> int: ...
def render_integers(
    *,
    device: int,
    info: DeviceInfo,
    shape: SirenShape,
    values: Any,
    multipliers: Any,
    axes: Sequence[Any],
    workspace: Any,
    out: Any,
    stream: int,
) -> None: ...
