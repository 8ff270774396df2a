"""Types of the native module; csrc/coders/binary_coder.h is the contract."""

import numpy as np
from numpy.typing import NDArray

LARGEST_MAGNITUDE: int

def encode_binary(values: NDArray[np.int32]) -> bytes: ...
def decode_binary(code: bytes, rows: int, columns: int) -> NDArray[np.int32]: ...
