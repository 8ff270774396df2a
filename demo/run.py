"""`make demo`: encodes the photograph beside this file and compares with JPEG and WebP.

Every number is of a file that the table's last lines name.
"""

from __future__ import annotations

import io
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tcnn_codec.config import make_config
from tcnn_codec.decoding.decoder import decode_file
from tcnn_codec.decoding.eval import comparison_picture, save_plot
from tcnn_codec.encoding.encoder import encode_file
from tcnn_codec.metrics import ms_ssim, psnr
from tcnn_codec.progress import ProgressLine

PHOTO = Path(__file__).parent / "photo.png"
OUT = Path("out/demo")


@dataclass(frozen=True)
class Row:
    name: str
    path: Path
    decoded: NDArray[np.uint8]
    encode_seconds: float
    decode_seconds: float


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    original = read(PHOTO)
    height, width, _ = original.shape
    size = PHOTO.stat().st_size
    print(f"photograph: {os.path.relpath(PHOTO)}, {width}x{height}, {size} bytes as PNG")
    ours = encode_with_network()
    rows = [ours] + [encode_with_pillow(original, f, ours.path) for f in ("JPEG", "WEBP")]
    names = ("bytes", "bpp", "PSNR dB", "MS-SSIM", "encode s", "decode s")
    print("\n" + " " * 12 + "".join(f"{name:>10}" for name in names))
    for row in rows:
        size = row.path.stat().st_size
        print(
            f"{row.name:12}{size:10}{8 * size / (height * width):10.4f}"
            f"{psnr(original, row.decoded):10.2f}{ms_ssim(original, row.decoded):10.4f}"
            f"{row.encode_seconds:10.3f}{row.decode_seconds:10.3f}"
        )
    plot = OUT / "comparison.png"
    save_plot(plot, comparison_picture(original, ours.decoded))
    print("\nfiles:           " + "  ".join(str(row.path) for row in rows))
    print(f"decoded:         {OUT / 'decoded.png'}")
    print(f"original | decoded | error x8:  {plot}")


def encode_with_network() -> Row:
    path, decoded = OUT / "photo.tcnn", OUT / "decoded.png"
    progress = ProgressLine(sys.stderr)
    encoded = encode_file(PHOTO, path, make_config(), progress=progress)
    progress.close()
    start = time.perf_counter()
    decode_file(path, decoded)
    seconds = time.perf_counter() - start
    return Row("tcnn_codec", path, read(decoded), encoded.encode_seconds, seconds)


def encode_with_pillow(original: NDArray[np.uint8], form: str, rival: Path) -> Row:
    """The quality whose file is nearest in size to `rival`."""

    def encode(quality: int) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(original).save(buffer, form, quality=quality)
        return buffer.getvalue()

    size = rival.stat().st_size
    quality = min(range(1, 96), key=lambda q: abs(len(encode(q)) - size))
    path = OUT / f"photo.{form.lower()}"
    start = time.perf_counter()
    path.write_bytes(encode(quality))
    middle = time.perf_counter()
    decoded = read(path)
    name = f"{'WebP' if form == 'WEBP' else form} q{quality}"
    return Row(name, path, decoded, middle - start, time.perf_counter() - middle)


def read(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


if __name__ == "__main__":
    main()
