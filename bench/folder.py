"""Encodes, decodes and evaluates every input given, each step by the command line.

python bench/folder.py INPUT [INPUT …] [--preset P] [--json FILE] [-- OPTION …]

INPUT is a file, or a folder whose images are taken one by one. Options behind `--` go to encode
and, as far as they are --frames, to eval. A row says BAD where the PSNR that encode reports, the
one of eval and the one of the decoded file differ by more than 0.02 dB, or bytes are not those on
disk, or a target behind `--` was missed: --bytes, --bpp (97 to 100 % of it), --psnr (up to 0.1 dB
more).
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from common import machine

from tcnn_codec.bitstream.header import DEFAULT_MAX_PIXELS
from tcnn_codec.io import open_source
from tcnn_codec.metrics import mean_psnr, psnr

TOLERANCE_DB = 0.02
#: Options of encode, and what they promise about.
TARGETS = {"--bytes": "bytes", "--bpp": "bits_per_pixel", "--psnr": "psnr_db"}


def window(option: str, asked: float) -> tuple[float, float]:
    """What a target allows."""
    return (asked, asked + 0.1) if option == "--psnr" else (0.97 * asked, asked)


def tcnn_codec(*arguments: object) -> str:
    command = [sys.executable, "-m", "tcnn_codec", *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def psnr_of_files(original: Path, decoded: Path, first: int, stop: int | None) -> float:
    limit = {"max_pixels": DEFAULT_MAX_PIXELS}
    with open_source(original, first, stop, **limit) as a, open_source(decoded, **limit) as b:
        pairs = zip(a.frames(), b.frames(), strict=True)
        return mean_psnr([psnr(x.pixels, y.pixels) for x, y in pairs])


def run_one(path: Path, preset: str, options: list[str], folder: Path) -> dict[str, Any]:
    """Encode, decode and evaluate one input; the keys of encode --json and eval --json and `ok`."""
    frames = options[options.index("--frames") + 1] if "--frames" in options else ":"
    first, stop = (int(end) if end else None for end in frames.split(":"))
    stream = folder / (path.name + ".tcnn")
    encoded = json.loads(
        tcnn_codec("encode", path, stream, "--preset", preset, "--json", "--quiet", *options)
    )
    kind = json.loads(tcnn_codec("info", stream, "--json"))["kind"]
    decoded = stream.with_suffix(".png" if kind == "image" else ".mkv")
    tcnn_codec("decode", stream, decoded)
    judged = json.loads(tcnn_codec("eval", path, stream, "--json", "--frames", frames))
    found = psnr_of_files(path, decoded, first or 0, stop)
    reports = (judged["psnr_db"], found)
    ok = all(abs(encoded["psnr_db"] - report) <= TOLERANCE_DB for report in reports)
    ok &= encoded["bytes"] == judged["bytes"] == stream.stat().st_size
    ok &= all(
        least <= encoded[key] <= most
        for option, key in TARGETS.items()
        if option in options
        for least, most in [window(option, float(options[options.index(option) + 1]))]
    )
    decoded.unlink()
    return {"input": path.name, **encoded, "ms_ssim": judged["ms_ssim"], "ok": ok}


def main() -> None:
    end = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    own, options = sys.argv[1:end], sys.argv[end + 1 :]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("inputs", type=Path, nargs="+", metavar="INPUT")
    parser.add_argument("--preset", default="balanced")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there too")
    asked = parser.parse_args(own)
    inputs = [q for p in asked.inputs for q in (sorted(p.iterdir()) if p.is_dir() else [p])]
    print(f"{'':26}{'bytes':>8}{'bpp':>9}{'PSNR dB':>9}{'MS-SSIM':>9}{'encode s':>10}")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for path in inputs:
            row = run_one(path, asked.preset, options, Path(folder))
            rows.append(row)
            print(format_row(row) + ("" if row["ok"] else "  BAD"), flush=True)
    mean = {"input": "mean (seconds: median)"}
    for name in ("bytes", "bits_per_pixel", "psnr_db"):
        mean[name] = statistics.mean(row[name] for row in rows)
    known = [row["ms_ssim"] for row in rows if row["ms_ssim"] is not None]
    mean["ms_ssim"] = statistics.mean(known) if known else None
    mean["encode_seconds"] = statistics.median(row["encode_seconds"] for row in rows)
    print(format_row(mean))
    if asked.json:
        command = f"python bench/folder.py {' '.join(sys.argv[1:])}"
        facts = machine()
        found = {"command": command, "environment": facts, "mean": mean, "rows": rows}
        asked.json.write_text(json.dumps(found, indent=1) + "\n")


def format_row(row: dict[str, Any]) -> str:
    similarity = "" if row["ms_ssim"] is None else f"{row['ms_ssim']:.4f}"
    return (
        f"{row['input']:26}{row['bytes']:8.0f}{row['bits_per_pixel']:9.4f}{row['psnr_db']:9.3f}"
        f"{similarity:>9}{row['encode_seconds']:10.2f}"
    )


if __name__ == "__main__":
    main()
