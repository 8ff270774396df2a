"""The decoder of web/, which was written from docs/format.md alone, shows and refuses the same."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT
from mutations import damage
from numpy.typing import NDArray
from plain_coders import plain_encode
from test_bitstream import FAULTS, assemble, write_video
from test_payload import TINY, payload_of, tensor

import tcnn_codec
from tcnn_codec.bitstream.header import StreamInfo, read_header
from tcnn_codec.bitstream.limits import FIRST_STEP
from tcnn_codec.bitstream.records import write_stream
from tcnn_codec.bitstream.varint import read_varint
from tcnn_codec.coders.quantised import QuantisedTensor
from tcnn_codec.errors import CodecError
from tcnn_codec.families.siren.payload import encode
from tcnn_codec.families.siren.spec import SirenSpec

Decode = Callable[..., list[dict[str, Any]]]

GOLDEN = {path.stem: path for path in sorted((ROOT / "tests" / "golden").glob("*.tcnn"))}
#: The fault as docs/format.md names it, by what the Python decoder's text begins with.
CLASSES = {
    "the file is empty": "empty file",
    "the file begins with": "not this format",
    "the stream has format version": "another version",
    "the file ends inside its header": "truncated header",
    "the header's checksum": "header checksum",
    "a header field is out of range": "header field out of range",
    "the stream has model family": "header field out of range",
    "chunk ": "truncated record",
    "the checksum": "chunk checksum",
    "1 bytes follow": "trailing bytes",
}
LIMITS = {"too many pixels", "too many parameters", "too much work"}
#: Of golden files; the damage is put behind checksums that are right.
MUTATIONS = 100


@pytest.fixture(scope="module")
def javascript(
    need: Callable[[str, bool], None], tmp_path_factory: pytest.TempPathFactory
) -> Decode:
    """decode(files, **options): what came of each, as tests/decode_files.mjs has it."""
    node = shutil.which("node")
    need("node", node is not None)
    folder = tmp_path_factory.mktemp("javascript")

    def decode(files: Sequence[bytes], **options: Any) -> list[dict[str, Any]]:
        paths = [folder / str(index) for index in range(len(files))]
        for path, data in zip(paths, files, strict=True):
            path.write_bytes(data)
        tasks = [{"path": str(path), **options} for path in paths]
        command = [str(node), str(ROOT / "tests" / "decode_files.mjs")]
        done = subprocess.run(command, input=json.dumps(tasks), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        for path, each in zip(paths, found, strict=True):
            if "fault" in each:
                assert "\n" not in each["message"]
                assert each["message"].count("; ") >= 1
            else:
                each["samples"] = np.fromfile(f"{path}.samples", np.uint8)
        return found

    return decode


def image(spec: SirenSpec, payload: bytes, height: int = 5, width: int = 7) -> bytes:
    info = StreamInfo("image", height, width, spec.out_channels, networks=(spec,))
    return write_stream(info, [payload])


# What it shows.


@pytest.mark.parametrize("plain", [False, True])
def test_golden_samples_are_exact(javascript: Decode, plain: bool) -> None:
    found = javascript([path.read_bytes() for path in GOLDEN.values()], plain=plain)
    for path, each in zip(GOLDEN.values(), found, strict=True):
        assert each["plain"] == plain
        assert np.array_equal(each["samples"], np.load(path.with_suffix(".npy")).ravel()), path


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("scale", [0.4, 3.3])
def test_a_window_at_another_size_is_exact(javascript: Decode, plain: bool, scale: float) -> None:
    for name in ("v3_rgb", "v3_grey_video", "v3_coded_video"):
        data = GOLDEN[name].read_bytes()
        whole = tcnn_codec.decode(data, scale=scale)
        height, width = whole.shape[-3:-1]
        window = {"x": 2, "y": 1, "width": width - 3, "height": height - 2}
        (found,) = javascript([data], plain=plain, width=width, height=height, window=window)
        expected = whole[..., 1 : height - 1, 2 : width - 1, :]
        assert np.array_equal(found["samples"], expected.ravel())


def test_the_readme_shows_what_works(javascript: Decode, tmp_path: Path) -> None:
    text = (ROOT / "web" / "README.md").read_text()
    code = text.split("```js\n")[1].split("```")[0]
    golden = GOLDEN["v3_wide"]
    script = tmp_path / "readme.mjs"
    script.write_text(
        "import { readFileSync } from 'node:fs';\n"
        f"const bytes = new Uint8Array(readFileSync('{golden}'));\n"
        + code.replace("./web/", f"{ROOT}/web/")
        + "console.log(samples.length, corner.length);\n"
    )
    done = subprocess.run(["node", script], capture_output=True, text=True)
    assert done.stdout == f"{np.load(golden.with_suffix('.npy')).size} {48 * 32 * 3}\n", done.stderr


def test_some_frames_are_exact(javascript: Decode) -> None:
    data = GOLDEN["v3_video"].read_bytes()
    (found,) = javascript([data], frames=[1, 4])
    assert np.array_equal(found["samples"], tcnn_codec.decode(data)[1:4].ravel())


def test_headers_say_the_same(javascript: Decode) -> None:
    small = replace(TINY, axes=3)
    info = StreamInfo(
        "video",
        height=2,
        width=3,
        channels=1,
        networks=(small, replace(small, width=2), small),
        chunk_frames=(1, 3, 1),
        timestamps=(-7, 0, 2**60, 2**60 + 1, 2**61),
    )
    different = write_stream(info, [constant(spec) for spec in info.networks])
    files = [*(path.read_bytes() for path in GOLDEN.values()), different]
    for data, each in zip(files, javascript(files), strict=True):
        info = read_header(io.BytesIO(data))
        for name in ("kind", "width", "height", "channels", "frames"):
            assert each[name] == getattr(info, name)
        assert each["timeBase"] == list(info.time_base.as_integer_ratio())
        assert each["frameRate"] == list(info.frame_rate.as_integer_ratio())
        assert each["ticks"] == [str(time) for time in info.timestamps]
        assert each["offsets"] == list(info.record_offsets[:-1])
        assert each["fileBytes"] == len(data)
        assert [
            (n["width"], n["hiddenLayers"], n["frequencies"], n["scale"], n["parameters"])
            for n in each["networks"]
        ] == [
            (s.width, s.hidden_layers, s.frequencies, round(1000 * s.scale), s.layer_parameters)
            for s in info.networks
        ]
        assert [(n["timeFrequencies"], n["timeCodes"]) for n in each["networks"]] == [
            (s.time_frequencies, s.time_codes) for s in info.networks
        ]


# What it refuses, each with its name of docs/format.md and one line.


def test_every_fault_of_the_document_has_a_file() -> None:
    text = (ROOT / "docs" / "format.md").read_text()
    table = text.split("| Fault | Found by |\n|---|---|\n")[1].split("\n\n")[0]
    cells = (line.split(" | ")[0].removeprefix("| ") for line in table.splitlines())
    names = {name for cell in cells for name in cell.split(": ")[-1].split(", ")}
    seen = {
        next(fault for start, fault in CLASSES.items() if refusal(data).startswith(start))
        for data, _ in FAULTS.values()
    }
    assert names == seen | set(payloads()) | LIMITS


def test_faults_of_the_file(javascript: Decode) -> None:
    found = javascript([data for data, _ in FAULTS.values()])
    for (name, (data, _)), each in zip(FAULTS.items(), found, strict=True):
        text = refusal(data)
        expected = next(fault for start, fault in CLASSES.items() if text.startswith(start))
        assert each["fault"] == expected, (name, each["message"], text)


def payloads() -> dict[str, list[bytes]]:
    """Images whose checksums are right and whose payload is not, by fault."""
    two = replace(TINY, width=2)
    zeros = [np.zeros(shape, np.int32) for shape in ((2, 2), (2, 2), (1, 2), (1, 2), (1, 1))]
    zeros[2][:] = 2000, 48
    bias = plain_encode(list(zip(zeros, (True, True, False, True, True), strict=True)))
    wide = SirenSpec(frequencies=0, hidden_layers=0, width=128)
    sound = payload_of([[0, 0], [0, 0]])
    coded = replace(TINY, axes=3, time_frequencies=1, time_codes=2).of(3)
    video = StreamInfo("video", 2, 3, 1, (coded,), chunk_frames=(3,), timestamps=(0, 1, 2))
    plain = replace(TINY, axes=3)
    two_chunks = StreamInfo(
        "video", 2, 3, 1, (plain,) * 2, (1, 1), chunk_kinds=(0, 1), timestamps=(0, 1)
    )
    far = [
        tensor(np.full(place.size, 2000 if k == 0 else 0)) for k, place in enumerate(plain.tensors)
    ]
    farther = [FarTensor(np.full(t.values.size, 2 * t.values[0]), t.step) for t in far]
    return {
        "impossible code": [image(TINY, b"\0" * 40 + b"\1"), image(TINY, b"\0")],
        "step": [
            image(TINY, payload_of([[-80, 0], [0, 0]])),
            image(TINY, payload_of([[0, 96], [0, 0]])),
            image(TINY, payload_of([[0, 0], [2047, 0]])),
            image(TINY, payload_of([[0, 0], [0, -2047]])),
        ],
        "bias": [image(two, bias)],
        "difference": [write_stream(two_chunks, [encode(plain, far), encode(plain, farther, far)])],
        "code": [
            write_stream(video, [encode(coded, [*zeros_of(coded)[:-1], tensor(np.array(codes))])])
            for codes in ((0, 0, 31, 0, 32, 0), (-31, 0, 0, -32, 5, 5))
        ],
        "output row": [image(wide, constant(wide, *row)) for row in ((2047, 80), (137, 175))],
        "length": [image(TINY, sound + b"\xff" * 8), image(TINY, sound + b"\0")],
    }


@dataclass
class FarTensor:
    """A QuantisedTensor of values that no file may have."""

    values: NDArray[np.int32]
    step: int


def zeros_of(spec: SirenSpec) -> list[QuantisedTensor]:
    return [tensor(np.zeros(place.size)) for place in spec.tensors]


def constant(spec: SirenSpec, weight: int = 0, step: int = FIRST_STEP) -> bytes:
    """A payload whose weights of the output are all alike, and all else is 0."""
    tensors = zeros_of(spec)
    tensors[-2] = tensor(np.full(spec.tensors[-2].size, weight), step)
    return encode(spec, tensors)


@pytest.mark.parametrize(
    "fault", ["impossible code", "step", "bias", "difference", "code", "output row", "length"]
)
def test_faults_of_a_payload(javascript: Decode, fault: str) -> None:
    files = payloads()[fault]
    for data, each in zip(files, javascript(files), strict=True):
        assert each["fault"] == fault
        assert refusal(data).startswith("malformed chunk payload: ")


def test_rows_of_the_output_up_to_the_bound(javascript: Decode) -> None:
    spec = SirenSpec(frequencies=0, hidden_layers=0, width=128)
    data = image(spec, constant(spec, 136, 175))
    for plain in (False, True):
        (found,) = javascript([data], plain=plain)
        assert np.array_equal(found["samples"], tcnn_codec.decode(data).ravel())


def test_limits(javascript: Decode) -> None:
    data = write_video()
    (found,) = javascript([data], maxPixels=16 * 9 * 3 - 1)
    assert found["fault"] == "too many pixels"
    assert "the limit is 431" in refusal(data, 16 * 9 * 3 - 1)
    small = GOLDEN["v3_rgb"].read_bytes()
    (found,) = javascript([small], maxPixels=19 * 14, width=38, height=28)
    assert found["fault"] == "too many pixels"
    huge = SirenSpec(hidden_layers=32, width=128)
    data = image(huge, b"", 16384, 16384)
    assert javascript([data])[0]["fault"] == "too much work"
    assert refusal(data).startswith("decoding takes ")
    many = StreamInfo(
        "video",
        height=1,
        width=1,
        channels=1,
        networks=(replace(huge, axes=3, out_channels=1),) * 64,
        chunk_frames=(1,) * 64,
        timestamps=tuple(range(64)),
    )
    data = write_stream(many, [b""] * 64)
    assert javascript([data])[0]["fault"] == "too many parameters"
    assert "parameters are in 0 bytes" in refusal(data)


def test_damage_behind_right_checksums(javascript: Decode) -> None:
    """Both decoders show the same, or both refuse."""
    files = [
        mutated(path.read_bytes(), np.random.default_rng([index, len(name)]))
        for name, path in GOLDEN.items()
        for index in range(MUTATIONS)
    ]
    limit = 20_000
    shown = 0
    for data, each in zip(files, javascript(files, maxPixels=limit), strict=True):
        text = refusal(data, limit)
        assert bool(text) == ("fault" in each), (text, each)
        if not text:
            shown += 1
            assert np.array_equal(
                each["samples"], tcnn_codec.decode(data, max_pixels=limit).ravel()
            )
    assert 0.1 * len(files) < shown < 0.9 * len(files)


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """Damaged in its header's fields or in its first payload, with checksums of the damage."""
    info = read_header(io.BytesIO(data))
    begin, end = info.header_bytes, info.record_offsets[1] - 4
    if rng.integers(2):
        length, fields = read_varint(data, 5)
        return assemble(damage(rng, data[fields : fields + length]), data[begin:])
    payload = damage(rng, data[begin:end]).ljust(end - begin, b"\1")[: end - begin]
    crc = zlib.crc32(bytes(4) + payload).to_bytes(4, "little")
    return data[:begin] + payload + crc + data[end + 4 :]


def refusal(data: bytes, max_pixels: int = 2**28) -> str:
    """Why the Python decoder does not decode a file; nothing where it does."""
    try:
        tcnn_codec.decode(data, max_pixels=max_pixels)
    except CodecError as error:
        return str(error).removeprefix("'<bytes>': ")
    return ""
