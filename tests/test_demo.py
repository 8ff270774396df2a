"""The demo runs, and its numbers are those of the files it names."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from io_samples import ROOT
from PIL import Image

from tcnn_codec.metrics import ms_ssim, psnr


def test_the_demo_tells_the_truth(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "demo" / "run.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    rows = {line.split()[0]: line.split() for line in lines if line}
    named = next(line for line in lines if line.startswith("files:")).split()[1:]
    original = np.asarray(Image.open(ROOT / "demo" / "photo.png"))
    pictures = {
        "tcnn_codec": tmp_path / rows["decoded:"][1],
        "JPEG": tmp_path / named[1],
        "WebP": tmp_path / named[2],
    }
    for (name, picture), stream in zip(pictures.items(), named, strict=True):
        size = (tmp_path / stream).stat().st_size
        decoded = np.asarray(Image.open(picture).convert("RGB"))
        shown = rows[name][-6:]
        assert int(shown[0]) == size
        assert float(shown[1]) == pytest.approx(8 * size / (384 * 256), abs=5e-5)
        assert float(shown[2]) == pytest.approx(psnr(original, decoded), abs=5e-3)
        assert float(shown[3]) == pytest.approx(ms_ssim(original, decoded), abs=5e-5)
    with Image.open(tmp_path / lines[-1].split()[-1]) as plot:
        assert plot.size == (3 * 384 + 2 * 8, 256)
