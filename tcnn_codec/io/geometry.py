"""Where the picture lies in what a file stores: a crop box, then one of eight orientations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T", bound=np.generic)

#: By orientation, numbered as EXIF numbers them (tag 274), the matrix [[xx, xy], [yx, yy]] that
#: takes a stored position (x to the right, y down) to where it is shown.
_MATRICES = {
    1: ((1, 0), (0, 1)),  # as stored
    2: ((-1, 0), (0, 1)),  # mirrored left to right
    3: ((-1, 0), (0, -1)),  # turned by 180 degrees
    4: ((1, 0), (0, -1)),  # mirrored top to bottom
    5: ((0, 1), (1, 0)),  # mirrored at the main diagonal
    6: ((0, -1), (1, 0)),  # turned by 90 degrees clockwise
    7: ((0, -1), (-1, 0)),  # mirrored at the other diagonal
    8: ((0, 1), (-1, 0)),  # turned by 90 degrees counter-clockwise
}


@dataclass(frozen=True)
class Geometry:
    """How stored pictures are shown.

    left, top, right, bottom: pixels cut off the edges of the stored picture, first. orientation:
    1 to 8 as in EXIF, applied to what is left.
    """

    orientation: int = 1
    left: int = 0
    top: int = 0
    right: int = 0
    bottom: int = 0

    def shown_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of what is shown of a stored picture of that size.

        Raises ValueError where the crop leaves nothing of it.
        """
        height, width = height - self.top - self.bottom, width - self.left - self.right
        if min(self.left, self.top, self.right, self.bottom) < 0 or height < 1 or width < 1:
            raise ValueError(f"the crop leaves {width}x{height} pixels")
        return (width, height) if self.orientation >= 5 else (height, width)

    def apply(self, pixels: NDArray[T]) -> NDArray[T]:
        """The shown picture of a stored one, [height, width, channels], C-contiguous."""
        height, width = pixels.shape[:2]
        shown = pixels[self.top : height - self.bottom, self.left : width - self.right]
        (_, across), _ = _MATRICES[self.orientation]
        if across:
            shown = shown.swapaxes(0, 1)
        x, y = (sum(row) for row in _MATRICES[self.orientation])
        return np.ascontiguousarray(shown[::y, ::x])


def orientation_of_matrix(xx: float, xy: float, yx: float, yy: float) -> int:
    """The orientation, 1 to 8, nearest to a matrix that takes (x, y), y down, to the position
    (xx x + xy y, yx x + yy y) where it is shown.

    1 for the matrix of zeros, which says nothing.
    """

    def likeness(orientation: int) -> float:
        (a, b), (c, d) = _MATRICES[orientation]
        return a * xx + b * xy + c * yx + d * yy

    return max(_MATRICES, key=likeness)


def then(first: int, second: int) -> int:
    """The orientation that equals `first` followed by `second`."""
    (a, b), (c, d) = _MATRICES[first]
    (e, f), (g, h) = _MATRICES[second]
    return orientation_of_matrix(e * a + f * c, e * b + f * d, g * a + h * c, g * b + h * d)
