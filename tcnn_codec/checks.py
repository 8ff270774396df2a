"""Values that a user hands in, checked once, where they come in.

name: as errors show it, in backquotes where it is an option (errors.CodecError).
"""

from __future__ import annotations

import numbers
import operator
from collections.abc import Callable
from typing import Any

from tcnn_codec.errors import CodecError

_SHOWN = 80


def whole_number(name: str, value: Any, least: int, most: int, remedy: str) -> int:
    """value as an int, least to most; CodecError for anything else, and for bool."""
    found = _index(value)
    if found is None or not least <= found <= most:
        raise CodecError(f"{name} is {shown(value)}", f"allowed are {least} to {most}", remedy)
    return found


def real_number(name: str, value: Any, least: float, most: float, remedy: str) -> float:
    """value as a float, least to most; CodecError for anything else, and for bool."""
    # float first: asking an abstract class takes long.
    known = isinstance(value, (float, numbers.Real)) and not isinstance(value, bool)
    if not known or not least <= value <= most:
        raise CodecError(f"{name} is {shown(value)}", f"allowed are {least:g} to {most:g}", remedy)
    return float(value)


def one_of(name: str, value: str, allowed: tuple[str, ...], usual: str) -> None:
    """Raises CodecError where value is none of those allowed."""
    if not isinstance(value, str) or value not in allowed:
        raise CodecError(
            f"{name} is '{shown(value)}'",
            f"allowed are {', '.join(allowed)}",
            f"'{usual}' is usual",
        )


def pixel_limit(value: Any) -> int:
    """The option max_pixels as an int, 1 or more; CodecError for anything else."""
    remedy = "leave it out for the usual limit"
    return whole_number("`max_pixels`", value, 1, 2**63 - 1, remedy)


def frame_pair(value: Any) -> tuple[Any, Any]:
    """The option frames: a pair (A, B), or (0, None) for None, which is all of them.

    Raises CodecError for what is no pair; `frame_numbers` looks at the two.
    """
    if value is None:
        return 0, None
    try:
        first, stop = value
    except (TypeError, ValueError):
        raise CodecError(
            f"`frames` is {shown(value)}",
            "allowed is a pair (A, B) with 0 <= A < B",
            "count from 0 and leave B out, so that (3, 4) is one frame",
        ) from None
    return first, stop


def frame_numbers(first: Any, stop: Any, within: str = "") -> tuple[int, int | None]:
    """The frames first:stop as integers, stop being None for all that follow.

    within: which there are, for the error. Raises CodecError for what are no whole numbers.
    """
    begin, end = _index(first), _index(stop)
    if begin is None or (end is None and stop is not None):
        raise CodecError(
            f"`frames` are {shown(first, repr)} to {shown(stop, repr)}",
            f"allowed are whole numbers A:B{within}",
            "count from 0 and leave the last one out",
        )
    return begin, end


def shown(value: Any, form: Callable[[Any], str] = str) -> str:
    """A value as part of a line, whatever it is and however long; form: str or repr."""
    try:
        text = " ".join(form(value).split())
    except ValueError:  # an integer of thousands of digits
        text = type(value).__name__
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _index(value: Any) -> int | None:
    """value as an int, None where it is no whole number or a bool."""
    if isinstance(value, bool):
        return None
    try:
        return operator.index(value)
    except TypeError:  # arrays have __index__ too, whatever they hold
        return None
