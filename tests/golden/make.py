"""Makes the golden streams of the format version; once that is frozen, never again.

Run from the root of the project as `python tests/golden/make.py`. It refuses to overwrite.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np

import tcnn_codec
from tcnn_codec.bitstream.header import VERSION, read_header
from tcnn_codec.bitstream.records import read_chunk, write_stream
from tcnn_codec.coders.quantised import QuantisedTensor

FOLDER = Path(__file__).parent


def pictures() -> dict[str, tuple[np.ndarray, dict[str, int]]]:
    y, x = np.mgrid[0:14, 0:19]
    rgb = np.stack([13 * x, 18 * y, 128 + 5 * x - 7 * y], axis=-1).astype(np.uint8)
    alpha = np.where((x - 9) ** 2 + (y - 7) ** 2 < 30, 255, 40).astype(np.uint8)
    t = np.arange(5)[:, None, None, None]
    video = (rgb[None] // 2 + 20 * t).astype(np.uint8)
    shifted = np.stack([np.roll(rgb, n, 1) for n in (0, 0, 1, 1, 2, 2, 9)])
    key = {"key_interval": 1}
    return {
        "rgb": (rgb, {"width": 12, "bits": 7}),
        "grey": (rgb[..., :1], {"width": 5, "bits": 12, "hidden_layers": 1, "frequencies": 0}),
        "rgba": (np.dstack([rgb, alpha]), {"width": 17, "bits": 4, "hidden_layers": 0}),
        "wide": (rgb, {"width": 33, "bits": 6, "hidden_layers": 1}),
        "deep": (rgb[:7], {"width": 12, "bits": 10, "hidden_layers": 7, "frequencies": 32}),
        "video": (video, {"width": 9, "bits": 8, "chunk_frames": 2, "frequencies": 3, **key}),
        "coded_video": (
            video,
            {"width": 10, "chunk_frames": 3, "frequencies": 4, "time_codes": 3, **key},
        ),
        "grey_video": (video[..., 1:2], {"width": 6, "hidden_layers": 2, "chunk_frames": 3, **key}),
        "difference_video": (shifted, {"width": 8, "chunk_frames": 2, "frequencies": 3}),
        "rgba_video": (np.concatenate([video, video[..., :1]], -1), {"width": 7, "bits": 5}),
        "colour": (np.full_like(rgb, 77), {"width": 20}),
    }


def with_codes(stream: bytes) -> bytes:
    """The same file with other codes, of every size; what they show does not matter."""
    info = read_header(BytesIO(stream))
    payloads = []
    for index, spec in enumerate(info.networks):
        tensors = info.family.decode(spec, read_chunk(BytesIO(stream), info, index))
        codes = (np.arange(tensors[-1].values.size, dtype=np.int32) * 11 + index) % 63 - 31
        codes = QuantisedTensor(codes, tensors[-1].step)
        payloads.append(info.family.encode(spec, [*tensors[:-1], codes]))
    return write_stream(info, payloads)


if __name__ == "__main__":
    for name, (pixels, options) in pictures().items():
        stream = tcnn_codec.encode(pixels, steps=300, **options)
        if "time_codes" in options:
            stream = with_codes(stream)
        with open(FOLDER / f"v{VERSION}_{name}.tcnn", "xb") as file:
            file.write(stream)
        np.save(FOLDER / f"v{VERSION}_{name}.npy", tcnn_codec.decode(stream))
