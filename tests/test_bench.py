"""What the benchmarks conclude from their times; that they run is `make bench`'s to show."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


def compare(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "bench" / "compare.py", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def result(path: Path, **times: tuple[float, float, float]) -> Path:
    """A result file: per contestant (fastest, median, slowest) in ms, eager taking 100."""
    rows: list[dict[str, Any]] = [
        {
            "operation": "step",
            "network": "paper 32",
            "contestant": name,
            "fastest": fastest,
            "milliseconds": median,
            "slowest": slowest,
            "times_eager": 100 / median,
            "times_eager_range": (100 / slowest, 100 / fastest),
        }
        for name, (fastest, median, slowest) in {
            "torch eager": (90, 100, 110),
            "torch compile": (40, 50, 60),
            **times,
        }.items()
    ]
    path.write_text(json.dumps({"environment": {}, "rows": rows}))
    return path


def test_only_a_clear_slowdown_is_a_regression(tmp_path: Path) -> None:
    old = result(tmp_path / "old.json", same=(9, 10, 11), slow=(9, 10, 11), noisy=(9, 10, 14))
    new = result(tmp_path / "new.json", same=(9, 10, 11), slow=(12, 13, 14), noisy=(12, 13, 14))
    done = compare(old, new, "--json", tmp_path / "out.json")
    assert (done.returncode, done.stderr) == (0, "")
    rows = {row["name"]: row for row in json.loads((tmp_path / "out.json").read_text())["rows"]}
    assert {name: row["regression"] for name, row in rows.items()} == {
        "paper 32  same": False,
        "paper 32  slow": True,
        "paper 32  noisy": False,
    }
    assert rows["paper 32  slow"]["new_over_old"] == pytest.approx(1.3)
    assert done.stdout.count("REGRESSION") == 1
    assert compare(old, new, "--fail").returncode == 1
    assert compare(old, old, "--fail").returncode == 0


def test_what_cannot_be_compared_is_one_line(tmp_path: Path) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text("{}")
    done = compare(bad, bad)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: '{bad}' is no result of bench/kernels.py")
    one = result(tmp_path / "one.json", ours=(9, 10, 11))
    done = compare(one, result(tmp_path / "other.json", theirs=(9, 10, 11)))
    assert done.returncode == 1
    assert done.stderr.startswith("error: the two have nothing in common")
    done = compare("no-such-revision")
    assert done.returncode == 1
    assert done.stderr.startswith("error: 'no-such-revision' is neither a file nor a revision")
