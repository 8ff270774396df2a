"""The SIREN as the decoder knows it: its header fields, its payload and its pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tcnn_codec.coders.payload import LEAST_PAYLOAD
from tcnn_codec.coders.quantised import QuantisedTensor
from tcnn_codec.families.contract import Tensors
from tcnn_codec.families.siren import payload as payloads
from tcnn_codec.families.siren.renderer import SirenRenderer
from tcnn_codec.families.siren.spec import MILLI, SirenSpec


@dataclass(frozen=True)
class SirenFamily:
    """A contract.Family."""

    name = "siren"
    number = 0

    def header_fields(self, spec: SirenSpec) -> tuple[int, ...]:
        # w0 is part of the weights.
        fields = (spec.frequencies, round(spec.scale * MILLI), spec.hidden_layers, spec.width)
        return fields if spec.axes == 2 else (*fields, spec.axis_frequencies[2], spec.time_codes)

    def read_spec(self, take: Callable[[str], int], axes: int, channels: int) -> SirenSpec:
        return SirenSpec(
            axes=axes,
            frequencies=take("frequencies"),
            scale=take("scale") / MILLI,
            hidden_layers=take("hidden layers"),
            width=take("network width"),
            out_channels=channels,
            time_frequencies=take("frequencies of t") if axes == 3 else None,
            time_codes=take("codes of a frame") if axes == 3 else 0,
        )

    def describe(self, spec: SirenSpec) -> dict[str, int | float]:
        time = {"time_frequencies": spec.axis_frequencies[-1], "time_codes": spec.time_codes}
        return {
            "hidden_width": spec.width,
            "hidden_layers": spec.hidden_layers,
            "frequencies": spec.frequencies,
            **(time if spec.axes == 3 else {}),
            "parameters": spec.parameter_count,
        }

    def encode(
        self,
        spec: SirenSpec,
        tensors: Sequence[QuantisedTensor],
        before: Sequence[QuantisedTensor] | None = None,
    ) -> bytes:
        return payloads.encode(spec, tensors, before)

    def decode(self, spec: SirenSpec, payload: bytes, before: Tensors | None = None) -> Tensors:
        return payloads.decode(spec, payload, before)

    def least_payload(self, spec: SirenSpec) -> int:
        return LEAST_PAYLOAD

    def renderer(self, threads: int) -> SirenRenderer:
        return SirenRenderer(threads)
