"""What the contract of model families promises, shown by a second family: tests/block_family.py."""

from __future__ import annotations

import io
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from block_family import BlockFamily, BlockFitter, BlockOptions, BlockSpec
from io_samples import picture

from tcnn_codec.bitstream.header import StreamInfo, read_header
from tcnn_codec.bitstream.records import write_stream
from tcnn_codec.config import EncodeConfig
from tcnn_codec.decoding.decoder import decode_frames
from tcnn_codec.dtypes import U8
from tcnn_codec.encoding.encoder import Encoded, encode_source
from tcnn_codec.errors import BitstreamError, CodecError
from tcnn_codec.families import family_of, make_fitter
from tcnn_codec.io import array_source
from tcnn_codec.metrics import mean_psnr, psnr


def encode(pixels: U8, blocks: int | None = None, **options: Any) -> Encoded:
    config = EncodeConfig(model=BlockOptions(blocks), **options)
    return encode_source(array_source(pixels), config, fitters=BlockFitter)


def decode(stream: bytes, scale: float = 1.0) -> tuple[StreamInfo, U8]:
    file = io.BytesIO(stream)
    info = read_header(file, families=lambda number: BlockFamily())
    return info, np.stack([frame.pixels for frame in decode_frames(file, info, scale=scale)])


def photo() -> U8:
    noise = np.random.default_rng(0).normal(0, 12, (120, 160, 3))
    return np.clip(picture(120, 160, 3) + noise, 0, 255).astype(np.uint8)


def clip() -> U8:
    return np.stack([np.roll(photo()[:40, :48], 3 * frame, axis=1) for frame in range(7)])


def test_an_image_of_another_family() -> None:
    encoded = encode(photo(), blocks=12)
    info, pixels = decode(encoded.stream)
    assert info.networks == (BlockSpec(2, 3, 12),)
    assert info.family == BlockFamily()
    assert encoded.psnr_db == pytest.approx(psnr(photo(), pixels[0]))
    assert encoded.report()["blocks"] == 12
    assert "hidden_width" not in encoded.report()
    assert decode(encoded.stream, scale=0.5)[1].shape == (1, 60, 80, 3)


def test_a_video_of_another_family_in_chunks() -> None:
    encoded = encode(clip(), chunk_frames=3)
    info, pixels = decode(encoded.stream)
    assert (info.chunk_count, info.frames, info.frame_rate) == (3, 7, Fraction(25))
    assert pixels.shape == clip().shape
    assert encoded.psnr_db == pytest.approx(
        mean_psnr([psnr(a, b) for a, b in zip(clip(), pixels, strict=True)])
    )


@pytest.mark.parametrize("most", [200, 1000, 3000])
def test_sizes_are_reached(most: int) -> None:
    # Chunks of one length, since steps an eighth apart reach few sizes of unequal ones.
    for pixels in (photo(), clip()[:6]):
        encoded = encode(pixels, bytes=most, chunk_frames=3)
        assert 0.97 * most <= len(encoded.stream) <= most
        assert mean_psnr(
            [
                psnr(a, b)
                for a, b in zip(
                    pixels.reshape(-1, *pixels.shape[-3:]), decode(encoded.stream)[1], strict=True
                )
            ]
        ) == pytest.approx(encoded.psnr_db)


def smooth() -> U8:
    """Whose quality grows evenly with the blocks, so that some number of them has any."""
    y, x = np.mgrid[:120, :160]
    levels = [128 + 90 * np.sin(x / a + y / b) for a, b in ((9, 11), (13, 7), (8, 17))]
    return np.stack(levels, axis=-1).astype(np.uint8)


@pytest.mark.parametrize("least", [26.0, 29.0, 31.5])
@pytest.mark.parametrize("steps", [3000, 12000])
def test_qualities_are_reached(least: float, steps: int) -> None:
    """With pilots before the fits where they are shorter, and without."""
    encoded = encode(smooth(), psnr=least, steps=steps)
    assert least <= psnr(smooth(), decode(encoded.stream)[1][0]) <= least + 0.1


def test_what_cannot_be_reached_names_the_family_s_own_options() -> None:
    with pytest.raises(CodecError) as caught:
        encode(photo(), psnr=90)
    assert "`blocks` and `bits` yourself" in caught.value.remedy
    assert caught.value.value == "90 dB cannot be reached"
    with pytest.raises(CodecError, match="`bytes` and `blocks` exclude each other"):
        encode(photo(), blocks=3, bytes=900)


def test_one_colour_takes_no_fit() -> None:
    flat = np.full((20, 30, 3), 99, np.uint8)
    encoded = encode(flat)
    assert math.isinf(encoded.psnr_db)
    assert (decode(encoded.stream)[1] == flat).all()


def test_a_spec_that_no_file_may_have_is_a_fault_of_the_file() -> None:
    networks = (BlockSpec(2, 3, 2),)

    class TooMany(BlockFamily):
        def header_fields(self, spec: BlockSpec) -> tuple[int, ...]:
            return (65,)

    damaged = write_stream(StreamInfo("image", 8, 8, 3, networks, family=TooMany()), [b"abcd"])
    with pytest.raises(BitstreamError) as caught:
        decode(damaged)
    assert "number of blocks is 65; allowed are 1 to 64" in str(caught.value)
    assert "8 is usual" not in str(caught.value)


def test_what_no_family_is_called() -> None:
    assert family_of(0).name == "siren"
    with pytest.raises(BitstreamError, match="model family 7"):
        family_of(7)
    with pytest.raises(TypeError, match="BlockOptions"):
        make_fitter(BlockOptions())
