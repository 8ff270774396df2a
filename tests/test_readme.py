"""Everything that the README tells a newcomer to type does what it says."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_calls import call, save
from io_samples import ROOT, make_video, picture

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README, flags=re.M | re.S)
LINES = [line.split("#")[0] for kind, text in BLOCKS if kind == "" for line in text.splitlines()]
COMMANDS = [shlex.split(line) for line in LINES if line.strip()]
OURS = [words[3:] for words in COMMANDS if words[:3] == ["python", "-m", "tcnn_codec"]]
#: It ends only when it is interrupted, and has tests/test_view.py.
OURS.remove(["view", "photo.tcnn"])


def test_the_page_is_short() -> None:
    assert len(README.splitlines()) <= 120


def test_the_commands_work_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a small picture and clip, and with few steps, which change nothing else."""
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "photo.png", picture(120, 176, 3))
    make_video(tmp_path / "clip.mp4", height=96, width=128, frames=30)
    assert len(OURS) == 5
    for words in OURS:
        known = set(tmp_path.iterdir())
        fewer = ["--steps", "40", "--quiet"] if words[0] == "encode" else []
        found = call(*words, *fewer)
        assert found.status == 0, (words, found.err)
        written = [Path(word) for word in words[2:] if re.fullmatch(r"\w+\.[a-z]\w+", word)]
        assert all(path.stat().st_size > 0 for path in written)
        assert {path.resolve() for path in tmp_path.iterdir()} - known <= {
            (tmp_path / path).resolve() for path in written
        }


def test_the_other_commands_are_targets_of_make() -> None:
    others = [words for words in COMMANDS if words[0] != "python"]
    assert others == [["make", "demo"], ["make", "test"]]
    for words in others:
        assert subprocess.run([*words, "--dry-run"], cwd=ROOT, capture_output=True).returncode == 0


def test_the_python_works() -> None:
    (code,) = [text for kind, text in BLOCKS if kind == "python"]
    found: dict[str, Any] = {"pixels": picture(20, 30, 3)}
    exec(code.replace('preset="fast"', 'preset="fast", steps=40'), found)
    assert found["pixels"].shape == (20, 30, 3)
    assert found["pixels"].dtype == np.uint8
    assert found["info"].width == 30


def test_the_options_that_the_text_names_exist() -> None:
    helps = "".join(call(command, "--help").out for command in ("encode", "decode", "eval", "info"))
    named = set(re.findall(r"--[a-z][a-z-]+", README))
    assert len(named) > 15
    for option in named:
        assert re.search(rf"{option}\b", helps), option


def test_the_files_that_the_text_links_to_exist() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert len(links) > 10
    for link in links:
        assert link.startswith("https://") or (ROOT / link).exists(), link
