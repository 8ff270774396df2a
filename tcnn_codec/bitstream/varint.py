"""Unsigned integers in base 128, least significant digit first (docs/format.md, section 2).

The high bit of a byte says that another follows. Only the shortest form is allowed, so that one
content has one encoding.
"""

from __future__ import annotations

MAX_VARINT_BYTES = 9
TOO_LONG = f"a varint is longer than {MAX_VARINT_BYTES} bytes"


def write_varint(value: int) -> bytes:
    """value: 0 to 2**63 - 1."""
    digits = bytearray()
    while value >= 128:
        digits.append(value & 127 | 128)
        value >>= 7
    digits.append(value)
    return bytes(digits)


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Value and the position behind it.

    IndexError if data ends first, ValueError for what `write_varint` does not write.
    """
    value = 0
    for place in range(MAX_VARINT_BYTES):
        byte = data[at + place]
        value |= (byte & 127) << 7 * place
        if byte < 128:
            if byte == 0 and place > 0:
                raise ValueError(not_shortest(value))
            return value, at + place + 1
    raise ValueError(TOO_LONG)


def not_shortest(value: int) -> str:
    return f"a varint of value {value} is longer than need be"
