"""What a picture or a clip is, apart from its pixels."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

Kind = Literal["image", "video"]


@dataclass(frozen=True)
class PictureFormat:
    """The format of an image or a video.

    height, width: in pixels, upright. channels: 1 (grey), 3 (RGB) or 4 (RGBA), the same for all
    frames. frame_count: of the selected frames, 1 for an image. time_base: seconds per unit of a
    frame's pts, 1 for an image. frame_rate: the nominal or average frames per second, 1 for an
    image.
    """

    kind: Kind
    height: int
    width: int
    channels: int
    frame_count: int = 1
    time_base: Fraction = Fraction(1)
    frame_rate: Fraction = Fraction(1)

    @property
    def pixels(self) -> int:
        """Of all frames."""
        return self.height * self.width * self.frame_count
