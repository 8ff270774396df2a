"""How sources are parted into chunks, and what follows from it in the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from block_family import BlockFitter, BlockOptions
from cli_calls import call, report
from test_scenes import pixels as clip_of
from test_scenes import scene

import tcnn_codec
from tcnn_codec.config import EncodeConfig, make_config
from tcnn_codec.dtypes import U8
from tcnn_codec.encoding.chunks import chunk_lengths, fixed_lengths
from tcnn_codec.encoding.encoder import Encoded, encode_source
from tcnn_codec.encoding.plan import ChunkPlan, plan_chunks
from tcnn_codec.errors import CodecError
from tcnn_codec.families.siren.fitter import SirenFitter
from tcnn_codec.families.siren.sizes import effort
from tcnn_codec.families.siren.spec import SirenSpec
from tcnn_codec.grid import Grid
from tcnn_codec.io import array_source

QUICK: dict[str, Any] = {"width": 6, "steps": 20, "threads": 1}


def plan(pixels: U8, max_pixels: int = 2**28, **options: Any) -> ChunkPlan:
    config = make_config(**options)
    return plan_chunks(array_source(pixels), config, SirenFitter(config.model), max_pixels)


def test_a_chunk_is_a_scene() -> None:
    clip = clip_of(scene(1, 20), scene(2, 11), scene(3, 9))
    found = plan(clip)
    assert (found.lengths, found.cuts, found.key_interval) == ((20, 11, 9), (20, 31), 1)
    assert found.shares == pytest.approx((1.5, 0.825, 0.675))


@pytest.mark.parametrize("frames", [1, 2, 7])
def test_few_frames_and_still_clips_are_one_chunk(frames: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (frames, 8, 9, 3), np.uint8)
    assert plan(pixels).lengths == (frames,)
    still = np.repeat(pixels[:1], 60, axis=0)
    assert plan(still).lengths == (60,)
    stream = tcnn_codec.encode(pixels, **QUICK)
    assert tcnn_codec.inspect(stream).chunk_frames == (frames,)
    assert tcnn_codec.decode(stream).shape == pixels.shape


def test_scenes_are_cut_where_memory_wants_it() -> None:
    clip = clip_of(scene(1, 20), scene(2, 11))
    area = clip.shape[1] * clip.shape[2]
    assert plan(clip, max_pixels=8 * area).lengths == (6, 7, 7, 5, 6)
    assert plan(clip, max_pixels=area).lengths == (1,) * 31
    with pytest.raises(
        CodecError, match=r"is 6912 pixels; the limit is 6911; lower `chunk_frames`"
    ):
        plan(clip, max_pixels=area - 1)


def test_scenes_are_cut_where_the_largest_network_is_too_small() -> None:
    still = np.zeros((90, 40, 60, 3), np.uint8)
    one = plan(still, bytes=20_000)
    assert one.lengths == (90,)
    several = plan(still, bytes=150_000)
    assert len(several.lengths) > 2
    assert max(several.lengths) - min(several.lengths) <= 1
    assert plan(still, bpp=8 * 150_000 / (90 * 2400)).lengths == several.lengths


def test_chunks_are_shorter_where_the_largest_network_is_too_poor() -> None:
    """The networks of this family are the same for all frames, which here grow ever brighter."""
    texture = np.random.default_rng(0).integers(0, 100, (24, 36, 3))
    pixels = (texture + 2 * np.arange(24)[:, None, None, None]).astype(np.uint8)

    def encode(**options: Any) -> Encoded:
        config = EncodeConfig(BlockOptions(), threads=1, **options)
        return encode_source(array_source(pixels), config, fitters=BlockFitter)

    assert encode(psnr=22.95).info.chunk_frames == (24,)
    found = encode(psnr=31.0)
    assert 31 <= found.psnr_db <= 31.1
    assert found.info.chunk_count > 1
    assert found.cuts == ()
    for options in ({"psnr": 80.0}, {"psnr": 31.0, "chunk_frames": 24}):
        with pytest.raises(CodecError, match=r"dB cannot be reached; the nearest .* about 2\d\.\d"):
            encode(**options)


def test_shorter_plans_keep_the_cuts() -> None:
    found = ChunkPlan((20, 11), (1.3, 0.7), 1, (20,))
    shorter = found.shorter(1)
    assert shorter is not None
    assert (shorter.lengths, shorter.cuts) == ((10, 10, 5, 6), (20,))
    assert shorter.shares == pytest.approx([4 * n / 31 for n in shorter.lengths])
    assert found.shorter(5) is None
    assert ChunkPlan((20, 11), (1.3, 0.7), 1, None).shorter(1) is None


def test_lengths_that_are_set() -> None:
    still = np.zeros((23, 4, 5, 1), np.uint8)
    for frames, lengths, interval in (
        (10, (10, 10, 3), 25),
        (16, (16, 7), 15),
        (17, (17, 6), 1),
        (99, (23,), 1),
    ):
        found = plan(still, chunk_frames=frames)
        assert (found.lengths, found.key_interval, found.cuts) == (lengths, interval, None)
    assert plan(still, chunk_frames=10).shares == (1, 1, 1)
    assert plan(still, chunk_frames=17).shares == pytest.approx((34 / 23, 12 / 23))
    assert plan(still, chunk_frames=10, key_interval=2).key_interval == 2


def test_pieces_are_about_equal() -> None:
    assert chunk_lengths((10, 3), 4) == (3, 3, 4, 3)
    assert chunk_lengths((5,), 5) == (5,)
    assert fixed_lengths(7, 3) == (3, 3, 1)
    assert fixed_lengths(6, 3) == (3, 3)


def test_networks_follow_the_lengths_of_scenes() -> None:
    clip = clip_of(scene(1, 30), scene(2, 10))
    options = {"steps": 60, "threads": 1, "bytes": 4000}
    stream = tcnn_codec.encode(clip, **options)
    assert 0.97 * 4000 <= len(stream) <= 4000
    info = tcnn_codec.inspect(stream)
    assert info.chunk_frames == (30, 10)
    long, short = (spec.parameter_count for spec in info.networks)
    assert 2 < long / short < 4


def test_the_command_line_says_where_the_cuts_are(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    from PIL import Image

    for index, frame in enumerate(clip_of(scene(1, 10), scene(2, 10))):
        Image.fromarray(frame).save(folder / f"{index:03}.png")
    small = ("--width", 4, "--steps", 5)
    said = call("encode", folder, tmp_path / "a.tcnn", *small)
    assert "20 frames in 2 chunks (1 cut at 10), " in said.out
    made = report("encode", folder, tmp_path / "b.tcnn", *small, "--quiet")
    assert (made["chunks"], made["cuts"]) == (2, [10])
    said = call("encode", folder, tmp_path / "c.tcnn", *small, "--chunk-frames", 4)
    assert "20 frames in 5 chunks, " in said.out
    told = call("info", tmp_path / "c.tcnn")
    assert " bytes, a difference\n" in told.out


def test_wide_networks_on_many_pixels_take_more_steps() -> None:
    kodak, clip = Grid(768, 512), Grid(352, 288, 60)
    wide, narrow = (SirenSpec(axes=3, width=width) for width in (86, 20))
    assert effort(SirenSpec(width=128), kodak) == effort(narrow, kodak) == 1
    assert 1 < effort(narrow, clip) < 1.3 < effort(wide, clip) < 2.5
    assert effort(SirenSpec(axes=3, width=128), Grid(1280, 720, 4096)) == 2.5


def test_steps_that_are_set_stay() -> None:
    clip = np.zeros((40, 120, 160, 3), np.uint8)
    clip[:, :60] = 200
    made = tcnn_codec.encode(clip, width=40, steps=12, threads=1)
    assert tcnn_codec.inspect(made).chunk_frames == (40,)
