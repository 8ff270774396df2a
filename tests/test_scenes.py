"""Hard cuts are found at the right frame, and nothing else is taken for one."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from tcnn_codec.dtypes import U8
from tcnn_codec.encoding import scenes
from tcnn_codec.encoding.scenes import LEAST_FRAMES, scene_lengths

HEIGHT, WIDTH = 72, 96


def picture(seed: int, levels: float = 50.0, mean: float = 120.0) -> NDArray[np.float64]:
    """Smooth random content, four times as large as a frame; float64 [height, width, 3]."""
    rng = np.random.default_rng(seed)
    shape = (2 * HEIGHT, 2 * WIDTH)
    y, x = np.mgrid[: shape[0], : shape[1]]
    waves = np.zeros((*shape, 3))
    for _ in range(24):
        fy, fx = rng.normal(0, 0.07, 2)
        waves += np.sin(fy * y + fx * x + rng.uniform(0, 7))[..., None] * rng.uniform(0.2, 1, 3)
    return mean + levels * waves / waves.std()


def scene(
    seed: int, frames: int, speed: float = 0.7, noise: float = 2.0, **content: float
) -> NDArray[np.float64]:
    """A camera that moves over a picture, and its noise; float64 [frames, height, width, 3]."""
    rng, whole = np.random.default_rng(seed), picture(seed, **content)
    top, left = rng.integers(0, 8, 2)
    found = []
    for frame in range(frames):
        # Back and forth.
        at = abs((int(left + speed * frame) + WIDTH) % (2 * WIDTH) - WIDTH)
        found.append(whole[top : top + HEIGHT, at : at + WIDTH])
    return np.stack(found) + rng.normal(0, noise, (frames, HEIGHT, WIDTH, 3))


def pixels(*parts: NDArray[np.float64]) -> U8:
    return np.clip(np.rint(np.concatenate(parts)), 0, 255).astype(np.uint8)


def test_cuts_are_at_the_right_frames() -> None:
    for seed in range(8):
        lengths = np.random.default_rng(seed).integers(LEAST_FRAMES, 30, 5).tolist()
        parts = [scene(10 * seed + i, n) for i, n in enumerate(lengths)]
        assert scene_lengths(pixels(*parts)) == tuple(lengths)


def test_scenes_of_like_brightness_dark_ones_and_stills() -> None:
    assert scene_lengths(pixels(scene(1, 20), scene(2, 20))) == (20, 20)
    assert scene_lengths(pixels(scene(1, 20), scene(2, 20, mean=25, levels=8))) == (20, 20)
    stills = scene(3, 12, speed=0, noise=0), scene(4, 12, speed=0, noise=0)
    assert scene_lengths(pixels(*stills)) == (12, 12)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_grey_and_alpha(channels: int) -> None:
    clip = pixels(scene(5, 10), scene(6, 14))
    alpha = np.zeros((*clip.shape[:3], 1), np.uint8)
    alpha[::2] = 255
    shown = np.concatenate([clip, alpha], axis=3)[..., :channels]
    assert scene_lengths(shown) == (10, 14)


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (3, 2), (47, 65), (300, 40)])
def test_any_size(size: tuple[int, int]) -> None:
    clip = np.zeros((20, *size, 1), np.uint8)
    clip[9:] = 255
    # One colour after another is a change of exposure.
    assert scene_lengths(clip) == (20,)


@pytest.mark.parametrize("size", [(47, 65, 4), (97, 129, 3), (600, 3, 1), (12500, 1, 3)])
def test_thumbnails_are_means_of_cells(size: tuple[int, int, int]) -> None:
    """The last has cells whose sums need more than 16 bits."""
    frame = np.random.default_rng(0).integers(250, 256, size, np.uint8)
    colours = frame[..., :3].astype(int)
    grey = colours @ scenes.GREY if size[2] > 1 else 256 * colours[..., 0]
    tall, wide = min(size[0], scenes.HEIGHT), min(size[1], scenes.WIDTH)
    rows = [size[0] * i // tall for i in range(tall + 1)]
    columns = [size[1] * i // wide for i in range(wide + 1)]
    means = [
        [grey[a:b, c:d].sum() // ((b - a) * (d - c)) for c, d in pairwise(columns)]
        for a, b in pairwise(rows)
    ]
    assert np.array_equal(scenes._thumbnail(frame), means)


@pytest.mark.parametrize("seed", range(4))
def test_bars_hide_no_cut(seed: int) -> None:
    """A quarter of a 16:9 picture is bars where a film is 2.39 times as wide as high."""
    bright = {"mean": 170.0, "levels": 25.0}  # so that it is the bars that make the contrast
    clip = np.concatenate([scene(2 * seed, 20, **bright), scene(2 * seed + 1, 20, **bright)])
    dimmed = scene(seed, 40, **bright)
    dimmed[20:] *= 0.5
    clip[:, :9] = clip[:, -9:] = dimmed[:, :9] = dimmed[:, -9:] = 0
    assert scene_lengths(pixels(clip)) == (20, 20)
    assert scene_lengths(pixels(clip).swapaxes(1, 2)) == (20, 20)
    assert scene_lengths(pixels(dimmed)) == (40,)


def test_a_still_clip_is_one_scene_and_so_are_few_frames() -> None:
    assert scene_lengths(pixels(scene(1, 1, speed=0)[[0] * 90])) == (90,)
    for frames in (1, 2, 3, LEAST_FRAMES, 2 * LEAST_FRAMES - 1):
        clip = pixels(*(scene(seed, 1) for seed in range(frames)))
        assert scene_lengths(clip) == (frames,)
    assert scene_lengths(pixels(scene(1, 8), scene(2, 8))) == (8, 8)
    assert scene_lengths(pixels(scene(1, 7), scene(2, 20))) == (27,)


@pytest.mark.parametrize("frames", [1, 2, 3])
@pytest.mark.parametrize("level", [0, 255])
def test_flashes_and_black_frames(frames: int, level: int) -> None:
    clip = scene(1, 40)
    clip[20 : 20 + frames] = level
    assert scene_lengths(pixels(clip)) == (40,)


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_odd_frames_belong_to_those_around(frames: int) -> None:
    clip = scene(1, 40)
    clip[20 : 20 + frames] = scene(2, frames)
    assert scene_lengths(pixels(clip)) == (40,)


def test_a_cut_beside_a_flash() -> None:
    clip = np.concatenate([scene(1, 20), scene(2, 20)])
    for flash in (18, 19, 21, 22):
        lit = clip.copy()
        lit[flash] = 255
        found = scene_lengths(pixels(lit))
        assert len(found) == 2
        assert abs(found[0] - 20) <= 1


@pytest.mark.parametrize("period", [2, 3, 4])
def test_strobes(period: int) -> None:
    clip = scene(1, 48)
    clip[::period] = 0.2 * clip[::period]
    assert scene_lengths(pixels(clip)) == (48,)


@pytest.mark.parametrize("length", [5, 10, 25])
def test_fades_and_dissolves(length: int) -> None:
    weight = np.clip((np.arange(60) - 20) / length, 0, 1)[:, None, None, None]
    first, second = scene(1, 60), scene(2, 60)
    assert scene_lengths(pixels(first * (1 - weight))) == (60,)
    assert scene_lengths(pixels(first * weight)) == (60,)
    assert scene_lengths(pixels(first * (1 - weight) + second * weight)) == (60,)


def test_exposure() -> None:
    for factor, lift in ((1.5, 0), (0.5, 0), (1, 60), (0.6, 70)):
        clip = scene(1, 40, levels=30)
        clip[20:] = factor * clip[20:] + lift
        assert scene_lengths(pixels(clip)) == (40,)


def test_judder_does_not_hide_a_cut_nor_make_one() -> None:
    """Every fifth frame is shown twice, as where 24 frames a second become 30."""
    clip = pixels(scene(1, 20, speed=3), scene(2, 20, speed=3))
    repeated = clip[np.arange(50) * 4 // 5]
    assert scene_lengths(repeated) == (25, 25)
    assert scene_lengths(pixels(scene(1, 40, speed=3))[np.arange(50) * 4 // 5]) == (50,)


@pytest.mark.parametrize("speed", [4, 8, 16])
def test_pans_and_shaking(speed: float) -> None:
    assert scene_lengths(pixels(scene(1, 40, speed=speed))) == (40,)
    shaking = scene(1, 40, speed=0)
    shifts = np.random.default_rng(0).integers(-speed, speed + 1, (40, 2))
    shaken = [np.roll(f, tuple(s), (0, 1)) for f, s in zip(shaking, shifts, strict=True)]
    assert scene_lengths(pixels(np.stack(shaken))) == (40,)


def test_noise() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, HEIGHT, WIDTH, 3), np.uint8)
    assert scene_lengths(noise) == (40,)
    assert scene_lengths(pixels(scene(1, 20, noise=25), scene(2, 20, noise=25))) == (20, 20)


def test_frames_are_read_once_and_few_are_held() -> None:
    def frames():  # type: ignore[no-untyped-def]
        for part in range(3):
            yield from pixels(scene(part, 30))

    assert scene_lengths(frames()) == (30, 30, 30)
