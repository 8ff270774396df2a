"""Values that a user hands in, checked once, where they come in.

name: as errors show it, in backquotes where it is an option (errors.CodecError).
"""

from __future__ import annotations

import numbers
import operator
from typing import Any

from tcnn_codec.errors import CodecError


def whole_number(name: str, value: Any, least: int, most: int, remedy: str) -> int:
    """value as an int, least to most; CodecError for anything else, and for bool."""
    if hasattr(value, "__index__") and not isinstance(value, bool):
        value = operator.index(value)
    if type(value) is not int or not least <= value <= most:
        raise CodecError(f"{name} is {value}", f"allowed are {least} to {most}", remedy)
    return value


def real_number(name: str, value: Any, least: float, most: float, remedy: str) -> float:
    """value as a float, least to most; CodecError for anything else, and for bool."""
    # float first: asking an abstract class takes long.
    known = isinstance(value, (float, numbers.Real)) and not isinstance(value, bool)
    if not known or not least <= value <= most:
        raise CodecError(f"{name} is {value}", f"allowed are {least:g} to {most:g}", remedy)
    return float(value)


def one_of(name: str, value: str, allowed: tuple[str, ...], usual: str) -> None:
    """Raises CodecError where value is none of those allowed."""
    if value not in allowed:
        raise CodecError(
            f"{name} is '{value}'", f"allowed are {', '.join(allowed)}", f"'{usual}' is usual"
        )
