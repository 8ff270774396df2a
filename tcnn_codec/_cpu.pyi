"""Types of the native module; csrc/siren/contract.h is the contract."""

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

compiler: str
MAX_WIDTH: int
#: The coefficients a, b, c and the number of steps of Muon's orthogonalisation.
newton_schulz: tuple[float, float, float, int]

def available_isas() -> list[str]: ...
def has_bfloat16(isa: str) -> bool: ...
def processor_vendor() -> str: ...
def why_no_amx() -> str: ...
def integer_isas() -> list[str]: ...
def integer_peak(isa: str, seconds: float) -> float: ...
def fma_peak(isa: str, seconds: float, bfloat16: bool) -> float: ...

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
        time_features: int = 0,
        codes: int = 0,
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

class Siren:
    def __init__(self, isa: str, threads: int, bfloat16: bool) -> None: ...
    @property
    def bfloat16(self) -> bool: ...
    @property
    def isa(self) -> str: ...
    @property
    def threads(self) -> int: ...
    def evaluate(
        self,
        shape: SirenShape,
        params: NDArray[Any],
        encodings: Sequence[NDArray[Any]],
        out: NDArray[Any],
    ) -> None: ...
    def loss_and_grad(
        self,
        shape: SirenShape,
        params: NDArray[Any],
        encodings: Sequence[NDArray[Any]],
        target: NDArray[Any],
        indices: NDArray[Any] | None,
        gradient: NDArray[Any],
        code_gradient: NDArray[Any] | None = None,
    ) -> float: ...
    def vjp(
        self,
        shape: SirenShape,
        params: NDArray[Any],
        encodings: Sequence[NDArray[Any]],
        output_gradient: NDArray[Any],
        gradient: NDArray[Any],
        code_gradient: NDArray[Any] | None = None,
    ) -> None: ...

class IntegerSiren:
    def __init__(self, isa: str, threads: int) -> None: ...
    @property
    def isa(self) -> str: ...
    @property
    def threads(self) -> int: ...
    def render(
        self,
        shape: SirenShape,
        values: NDArray[Any],
        multipliers: NDArray[Any],
        axes: Sequence[NDArray[Any]],
        out: NDArray[Any],
    ) -> None: ...

class Trainer:
    def __init__(
        self,
        *,
        siren: Siren,
        shape: SirenShape,
        encodings: Sequence[NDArray[Any]],
        target: NDArray[Any],
        order: NDArray[Any] | None,
        params: NDArray[Any],
        mean: NDArray[Any],
        variance: NDArray[Any],
        scales: NDArray[Any] | None,
        steps_done: int,
        constants: OptimiserConstants,
    ) -> None: ...
    def steps(
        self,
        starts_and_strides: Sequence[tuple[int, int]],
        count: int,
        learning_rates: NDArray[Any],
        losses: NDArray[Any],
        code_gradient: NDArray[Any] | None = None,
    ) -> None: ...
