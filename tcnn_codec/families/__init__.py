"""The families there are: the one place that knows all of them by name."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from tcnn_codec.errors import BitstreamError
from tcnn_codec.families.contract import Family, Fitter, ModelOptions
from tcnn_codec.families.siren.backends import PRECISIONS_OF
from tcnn_codec.families.siren.options import SirenOptions

#: Of the family that is encoded with: what a user may choose, and a line on each for help.
DefaultOptions = SirenOptions
OPTIONS_HELP = {f.name: f.metadata["help"] for f in fields(SirenOptions)}
#: What may compute it, and in which precisions.
BACKENDS = ("auto", *PRECISIONS_OF)
PRECISIONS = ("auto", *dict.fromkeys(name for of in PRECISIONS_OF.values() for name in of))
DEFAULT_NUMBER = 0


def _siren() -> Family[Any]:
    from tcnn_codec.families.siren.family import SirenFamily

    return SirenFamily()


#: By the format's numbers; each is imported only when it is asked for.
_FAMILIES = {DEFAULT_NUMBER: _siren}


def family_of(number: int) -> Family[Any]:
    """The family that the format numbers so. Raises BitstreamError where there is none."""
    if number not in _FAMILIES:
        raise BitstreamError(
            f"the stream has model family {number}",
            f"this program knows family {', '.join(map(str, _FAMILIES))}",
            "upgrade tcnn_codec",
        )
    return _FAMILIES[number]()


def make_fitter(
    options: ModelOptions | None = None,
    backend: str = "auto",
    precision: str = "auto",
    threads: int = 0,
) -> Fitter[Any]:
    """The fitter of the family whose options these are, or of the default one.

    backend: one of BACKENDS. precision: one of PRECISIONS. threads: of the CPU, 0 takes every
    core. Raises BackendUnavailable for what this machine or installation lacks.
    """
    from tcnn_codec.families.siren.fitter import SirenFitter

    if options is not None and not isinstance(options, SirenOptions):
        raise TypeError(f"no family has options of type {type(options).__name__}")
    return SirenFitter(options, backend, precision, threads)
