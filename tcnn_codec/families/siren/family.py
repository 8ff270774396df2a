"""The SIREN as the decoder knows it: its header fields, its payload and its pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tcnn_codec.coders.payload import LEAST_TENSOR_BYTES, decode_tensors, encode_tensors
from tcnn_codec.coders.quantised import QuantisedTensor
from tcnn_codec.dtypes import U8
from tcnn_codec.families.contract import Tensors
from tcnn_codec.families.siren.backends import create
from tcnn_codec.families.siren.quantise import dequantise
from tcnn_codec.families.siren.spec import MILLI, SirenSpec
from tcnn_codec.grid import Grid

if TYPE_CHECKING:
    from tcnn_codec.families.siren.backends.base import Backend


@dataclass(frozen=True)
class SirenFamily:
    """A contract.Family."""

    name = "siren"
    number = 0

    def header_fields(self, spec: SirenSpec) -> tuple[int, ...]:
        scaled = (round(spec.scale * MILLI), round(spec.w0 * MILLI))
        return (spec.frequencies, spec.hidden_layers, spec.width, *scaled)

    def read_spec(self, take: Callable[[str], int], axes: int, channels: int) -> SirenSpec:
        return SirenSpec(
            axes=axes,
            frequencies=take("frequencies"),
            hidden_layers=take("hidden_layers"),
            width=take("network width"),
            scale=take("scale") / MILLI,
            w0=take("w0") / MILLI,
            out_channels=channels,
        )

    def describe(self, spec: SirenSpec) -> dict[str, int | float]:
        return {
            "hidden_width": spec.width,
            "hidden_layers": spec.hidden_layers,
            "frequencies": spec.frequencies,
            "parameters": spec.parameter_count,
        }

    def encode(self, spec: SirenSpec, tensors: Sequence[QuantisedTensor]) -> bytes:
        return encode_tensors(spec.tensors, tensors)

    def decode(self, spec: SirenSpec, payload: bytes, version: int) -> Tensors:
        return decode_tensors(spec.tensors, payload, version)

    def least_payload(self, spec: SirenSpec) -> int:
        return LEAST_TENSOR_BYTES * len(spec.tensors)

    def renderer(self, threads: int) -> SirenRenderer:
        return SirenRenderer(create("cpu", threads))


class SirenRenderer:
    """A contract.Renderer. backend: the cpu's, which renders in float32."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def render(self, spec: SirenSpec, tensors: Sequence[QuantisedTensor], grid: Grid) -> U8:
        return self._backend.render(spec, dequantise(spec, tensors), grid)
