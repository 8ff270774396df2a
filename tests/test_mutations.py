"""Damaged files of every supported format: pixels or one line, never anything else."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
from io_samples import ROOT, make_video, picture
from picture_files import coded_item, write_heif, write_png, write_tiff
from PIL import Image

import tcnn_codec

#: Together.
MUTATIONS = 10_000
HEIGHT, WIDTH, FRAMES = 24, 32, 3

STILLS: dict[str, dict[str, Any]] = {
    "a.png": {},
    "a.jpg": {},
    "progressive.jpg": {"progressive": True},
    "a.webp": {"lossless": True},
    "lossy.webp": {},
    "a.tif": {"compression": "tiff_lzw"},
    "a.bmp": {},
    "a.ppm": {},
    "a.avif": {},
    "a.jp2": {},
}
ANIMATIONS = ("animated.png", "animated.webp", "animated.gif", "animated.avif")
#: (codec, pixel format) by name.
CLIPS = {
    "h264.mp4": ("libx264", "yuv420p"),
    "hevc.mp4": ("libx265", "yuv420p"),
    "vp9.mkv": ("libvpx-vp9", "yuv420p"),
    "ffv1.mkv": ("ffv1", "bgr0"),
    "vp8.webm": ("libvpx", "yuv420p"),
    "av1.mkv": ("libsvtav1", "yuv420p10le"),
    "mpeg4.avi": ("mpeg4", "yuv420p"),
    "mjpeg.avi": ("mjpeg", "yuvj420p"),
    "a.y4m": ("wrapped_avframe", "yuv420p"),
    "h264.ts": ("libx264", "yuv420p"),
    "a.mpg": ("mpeg1video", "yuv420p"),
    "a.flv": ("flv", "yuv420p"),
    "vp8.ivf": ("libvpx", "yuv420p"),
    "a.nut": ("ffv1", "yuv420p"),
    "a.h264": ("libx264", "yuv420p"),
    "a.mxf": ("mpeg2video", "yuv420p"),
    "prores.mov": ("prores_ks", "yuv422p10le"),
}


def write_originals(folder: Path) -> list[str]:
    """A small file of each kind; their names."""
    frames = [Image.fromarray(picture(HEIGHT, WIDTH, 3, 5 * i)) for i in range(FRAMES)]
    for name, options in STILLS.items():
        frames[0].save(folder / name, **options)
    frames[0].quantize(16).save(folder / "palette.png", transparency=3)
    rest = {"save_all": True, "append_images": frames[1:], "duration": 40}
    for name in ANIMATIONS:
        frames[0].save(folder / name, **rest)
    deep = np.random.default_rng(0).integers(0, 65536, (HEIGHT, WIDTH, 4))
    write_png(folder / "deep.png", deep[..., :3])
    write_tiff(folder / "deep.tif", deep, 16, separate=True)
    write_tiff(folder / "twelve.tif", deep[..., :1] >> 4, 12)
    pillow_heif.from_pillow(frames[0].resize((64, 64))).save(folder / "a.heic")
    item = coded_item(folder / "a.heic")
    write_heif(folder / "grid.heic", item, 64, 64, grid=(1, 2))
    for name, (codec, pixel_format) in CLIPS.items():
        make_video(
            folder / name,
            codec=codec,
            pixel_format=pixel_format,
            height=HEIGHT,
            width=WIDTH,
            frames=FRAMES,
        )
    clip = np.stack([np.asarray(frame) for frame in frames])
    (folder / "a.tcnn").write_bytes(tcnn_codec.encode(clip, width=4, steps=5, chunk_frames=2))
    return sorted(path.name for path in folder.iterdir())


def test_damaged_files_give_pixels_or_one_line(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    names = write_originals(tmp_path)
    count = -(-MUTATIONS // len(names))
    program = [sys.executable, str(ROOT / "tests" / "mutations.py"), str(tmp_path), str(count)]

    def read(part: list[str]) -> dict[str, Any]:
        done = subprocess.run([*program, *part], capture_output=True, text=True)
        left = sorted(path.name for path in tmp_path.glob("mutated-*"))
        assert done.returncode == 0, f"{left} ended the process: {done.stderr[-2000:]}"
        assert done.stderr == ""
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    with ThreadPoolExecutor(2) as pool:
        parts = list(pool.map(read, (names[::2], names[1::2])))
    faults = [fault for part in parts for fault in part["faults"]]
    assert not faults
    counts = {name: tally for part in parts for name, tally in part["counts"].items()}
    record_property("pixels and refusals", counts)
    assert sum(map(sum, counts.values())) >= MUTATIONS
    assert all(refusals > 0 for _, refusals in counts.values()), counts
    # All but those whose checksums find nearly everything.
    assert sum(pixels > 0 for pixels, _ in counts.values()) >= len(counts) * 3 // 4, counts
