"""Pillow's codecs as bench/rd.py runs them, each down a ladder that brackets 0.05 to 1.5 bpp."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tcnn_codec.metrics import PSNR_CAP, psnr

Pixels = NDArray[np.uint8]
#: Enough for the wavelet's levels.
PROBE_SIDE = 128


@dataclass(frozen=True)
class Codec:
    """A codec of Pillow: its settings, and what `save` is told for one at so many channels."""

    format: str
    settings: tuple[float, ...]
    unit: str
    options: Callable[[float, int], dict[str, Any]]

    def name(self, setting: float) -> str:
        return f"{self.unit} {setting:g}"

    def code(self, pixels: Pixels, setting: float) -> tuple[int, float, float]:
        """Bytes, PSNR in dB and seconds of encoding. Raises what Pillow raises."""
        picture = Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels)
        file, start = io.BytesIO(), time.perf_counter()
        picture.save(file, self.format, **self.options(setting, pixels.shape[-1]))
        seconds = time.perf_counter() - start
        decoded = np.asarray(Image.open(file).convert(picture.mode)).reshape(pixels.shape)
        return len(file.getvalue()), min(psnr(pixels, decoded), PSNR_CAP), seconds

    def works(self) -> bool:
        try:
            self.code(np.zeros((PROBE_SIDE, PROBE_SIDE, 3), np.uint8), self.settings[0])
        except (KeyError, OSError, ValueError):
            return False
        return True


def jpeg2000_options(bpp: float, channels: int) -> dict[str, Any]:
    return {
        "quality_mode": "rates",
        "quality_layers": [8 * channels / bpp],
        "irreversible": True,
        "mct": int(channels == 3),
        "no_jp2": True,
    }


CODECS = {
    "JPEG 4:2:0": Codec(
        "JPEG",
        (2, 5, 8, 12, 20, 35, 50, 65, 80),
        "quality",
        lambda q, _: {"quality": q, "subsampling": "4:2:0", "optimize": True},
    ),
    "JPEG 2000": Codec(
        "JPEG2000", (0.05, 0.08, 0.12, 0.2, 0.3, 0.5, 0.8, 1.2, 1.6), "bpp", jpeg2000_options
    ),
    "WebP": Codec(
        "WEBP",
        (0, 1, 5, 10, 20, 40, 60, 75, 85),
        "quality",
        lambda q, _: {"quality": q, "method": 6},
    ),
    "AVIF 4:4:4": Codec(
        "AVIF",
        (1, 6, 12, 20, 30, 40, 50, 62, 70),
        "quality",
        lambda q, _: {
            "quality": q,
            "speed": 4,
            "subsampling": "4:4:4",
            "codec": "aom",
            "advanced": {"tune": "psnr"},
        },
    ),
}
