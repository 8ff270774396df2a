"""Evaluation in integers: every instruction set shows what docs/format.md, section 8, says."""

from __future__ import annotations

import math
import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import integer_oracle as oracle
import numpy as np
import pytest
from integer_cases import CASES, IntegerCase, anything, written
from test_backends import assert_guarded, guard, wait_for

from tcnn_codec import _cpu
from tcnn_codec.coders.quantised import QuantisedTensor
from tcnn_codec.errors import BackendUnavailable, CodecError
from tcnn_codec.families.siren import renderer
from tcnn_codec.families.siren.backends.inputs import encode_axis_integers, native_shape
from tcnn_codec.families.siren.renderer import SirenRenderer
from tcnn_codec.families.siren.spec import SirenSpec
from tcnn_codec.grid import Grid

X86 = ("avx512_vnni", "avx512", "avx2", "sse41", "scalar")
ISAS = ("neon", "scalar") if platform.machine() in ("aarch64", "arm64") else X86

by_name = pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])


@pytest.fixture(scope="module", params=ISAS)
def isa(request: pytest.FixtureRequest, need: Callable[[str, bool], None]) -> str:
    need(request.param, request.param in _cpu.integer_isas())
    name: str = request.param
    return name


def render(isa: str, case: IntegerCase, threads: int, axes: Any = None) -> Any:
    """uint8 [pixels, channels], and whether nothing beside it was written."""
    axes = case.encodings if axes is None else axes
    pixels = math.prod(len(axis) for axis in axes)
    guarded, out = guard(pixels * case.spec.out_channels, np.uint8)
    siren = _cpu.IntegerSiren(isa, threads)
    siren.render(native_shape(_cpu, case.spec), case.values, case.multipliers, axes, out)
    assert_guarded(guarded, out)
    return out.reshape(pixels, -1)


@by_name
def test_samples_are_the_documents(isa: str, case: IntegerCase) -> None:
    expected = case.expected.reshape(case.grid.pixels, -1)
    assert np.array_equal(render(isa, case, case.threads), expected)


def test_cases_are_pictures() -> None:
    """A list of pictures without content would prove nothing."""
    spread = {case.name: case.expected.std() for case in CASES if case.grid.pixels > 1}
    assert sum(deviation > 20 for deviation in spread.values()) > len(spread) * 2 // 3


@pytest.mark.parametrize("name", ["tiles-and-tasks", "video", "video-of-narrow-frames"])
def test_threads_and_bands_change_nothing(isa: str, name: str) -> None:
    case = next(case for case in CASES if case.name == name)
    expected = case.expected
    for threads in (1, 2, 3, 8):
        found = render(isa, case, threads)
        assert np.array_equal(found, expected.reshape(found.shape))
    x, y, *t = case.encodings
    for rows in (slice(0, 1), slice(1, None), slice(2, 3)):
        found = render(isa, case, 2, [x, y[rows], *t])
        assert np.array_equal(found, expected[:, rows].reshape(found.shape))
    if t:
        found = render(isa, case, 2, [x, y, t[0][1:3]])
        assert np.array_equal(found, expected[1:3].reshape(found.shape))


def test_sine_of_every_phase(isa: str) -> None:
    """A network of one neuron shows every sine, some two hundred levels of its range at a time."""
    shape = _cpu.SirenShape(axes=2, features=1, hidden_layers=0, width=1, out_channels=1, w0=1.0)
    bytes_ = np.arange(256, dtype=np.int16)[:, None]
    siren, found = _cpu.IntegerSiren(isa, 2), np.full(2**16, 2**15)
    # phase = 2^16 (x + 256 y); sample = sine + 128 + 16 bias.
    multipliers = np.array([2**16, 1, 2**23, 2**16], np.int32)
    for bias in range(-1040, 1041, 15):
        values = np.array([1, 256, 0, 8, bias], np.int32)
        out = np.empty(2**16, np.uint8)
        siren.render(shape, values, multipliers, [bytes_, bytes_], out)
        inside = (out > 0) & (out < 255)
        sines = out[inside].astype(int) - 128 - 16 * bias
        assert np.isin(found[inside], [2**15, *np.unique(sines)]).all()
        found[inside] = sines
    assert np.array_equal(found, oracle.sine(np.arange(2**16) << 16))


def test_sine_errs_as_little_as_the_document_says() -> None:
    upper = np.arange(2**16)
    exact = np.sin(2 * np.pi * (upper + 0.5) / 2**16)
    error = np.abs(oracle.sine(upper << 16) / 2**14 - exact)
    assert 9.3e-5 < error.max() <= 9.4e-5
    # Lower halves do not matter.
    assert np.array_equal(oracle.sine((upper << 16) + 0xFFFF), oracle.sine(upper << 16))


@pytest.mark.parametrize("size", [1, 2, 3, 48, 1000, 1001])
@pytest.mark.parametrize(
    ("frequencies", "scale"), [(0, 1.4), (1, 4.0), (16, 1.4), (32, 1.4), (8, 4.0), (32, 0.001)]
)
def test_encoding_is_the_documents(frequencies: int, scale: float, size: int) -> None:
    spec = SirenSpec(frequencies=frequencies, scale=scale)
    found = encode_axis_integers(spec.frequency_integers, size)
    assert found.dtype == np.int16
    assert np.array_equal(found, oracle.encode(frequencies, round(1000 * scale), size))
    assert not found.flags.writeable


def test_encoding_of_the_longest_axis() -> None:
    """Products stay below 2^63: rows are those of whole numbers of any length."""
    spec, size = SirenSpec(frequencies=9, scale=3.999), 2**16
    assert 2**45.99 < max(spec.frequency_integers) < 2**46
    found = encode_axis_integers(spec.frequency_integers, size)
    for i in (0, 1, 2**15 - 1, 2**15, 40_000, size - 1):
        m = 2 * i + 1 - size
        phases = [2 * f * m // size % 2**32 for f in spec.frequency_integers]
        sines = [oracle.sine(g) for g in phases]
        cosines = [oracle.sine((g + 2**30) % 2**32) for g in phases]
        assert found[i].tolist() == [(2**15 * m + size) // (2 * size), *sines, *cosines]


@pytest.mark.parametrize("name", ["paper-32", "video", "grid-1x97", "largest-odd", "width-33"])
def test_renderer(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    case = next(case for case in CASES if case.name == name)
    found = SirenRenderer(2).render(case.spec, case.tensors, case.grid)
    assert np.array_equal(found, case.expected)
    # In bands of rows, and of frames.
    for pixels in (1, case.grid.width * 2, case.grid.width * case.grid.height * 2):
        monkeypatch.setattr(renderer, "WORK_PER_CALL", pixels * case.spec.parameter_count)
        banded = SirenRenderer(2).render(case.spec, case.tensors, case.grid)
        assert np.array_equal(banded, case.expected)


def test_renderer_chooses_the_instruction_set(monkeypatch: pytest.MonkeyPatch) -> None:
    available = _cpu.integer_isas()
    monkeypatch.delenv("TCNN_CODEC_CPU_ISA", raising=False)
    assert SirenRenderer().device == available[0]
    assert SirenRenderer(3).threads == 3
    for name in available:
        assert SirenRenderer(isa=name).device == name
        monkeypatch.setenv("TCNN_CODEC_CPU_ISA", name)
        best = available[0] if name == "avx512" else name
        assert SirenRenderer().device == best
    monkeypatch.setenv("TCNN_CODEC_CPU_ISA", "sse9")
    with pytest.raises(BackendUnavailable, match=r"'sse9' is not available.*scalar"):
        SirenRenderer()
    with pytest.raises(CodecError, match="`threads` is -1"):
        SirenRenderer(-1)


def test_one_renderer_serves_several_threads(isa: str) -> None:
    case, other = CASES[0], CASES[4]
    shared = SirenRenderer(2, isa)
    with ThreadPoolExecutor(4) as threads:
        work = [
            (each, threads.submit(shared.render, each.spec, each.tensors, each.grid))
            for each in (case, other) * 40
        ]
        assert all(np.array_equal(done.result(), each.expected) for each, done in work)


def test_a_forked_child_renders_too(isa: str) -> None:
    case = CASES[0]
    shared = SirenRenderer(2, isa)
    shared.render(case.spec, case.tensors, case.grid)
    child = os.fork()
    if child == 0:
        same = np.array_equal(shared.render(case.spec, case.tensors, case.grid), case.expected)
        os._exit(0 if same else 1)
    assert wait_for(child) == 0


# ---- without Python ------------------------------------------------------------------------------


def check_driver(emulator: list[str], folder: Path, cases: Sequence[IntegerCase]) -> list[str]:
    """Every instruction set of a driver shows what it must; their names."""
    command = [*emulator, str(folder / "driver")]
    names = subprocess.run(command, capture_output=True, check=True).stdout.decode().split()
    given = b"".join(written(case) for case in cases)
    expected = b"".join(case.expected.tobytes() for case in cases)
    for name in names:
        done = subprocess.run([*command, name], input=given, capture_output=True, timeout=600)
        assert done.returncode == 0, done.stderr.decode()[-4000:]
        assert done.stdout == expected, name
    return names


def test_sanitizers_find_nothing(build_with_cmake: Callable[..., Path]) -> None:
    """Above all no signed overflow, and nothing read or written beyond an array."""
    folder = build_with_cmake("integer", "integer-sanitized", "-DSANITIZER=address,undefined")
    assert check_driver([], folder, CASES) == _cpu.integer_isas()


def test_aarch64_under_an_emulator(
    build_with_cmake: Callable[..., Path], need: Callable[[str, bool], None]
) -> None:
    """NEON on any machine with a cross compiler and qemu."""
    compiler, emulator = shutil.which("aarch64-linux-gnu-g++"), shutil.which("qemu-aarch64")
    need("aarch64", compiler is not None and emulator is not None)
    folder = build_with_cmake(
        "integer",
        "integer-aarch64",
        "-DCMAKE_SYSTEM_NAME=Linux",
        "-DCMAKE_SYSTEM_PROCESSOR=aarch64",
        f"-DCMAKE_CXX_COMPILER={compiler}",
        "-DCMAKE_EXE_LINKER_FLAGS=-static",
    )
    assert check_driver([str(emulator)], folder, CASES) == ["neon", "scalar"]


# ---- what is refused -----------------------------------------------------------------------------


def changed(array: Any, index: int, value: int) -> Any:
    found = array.copy()
    found[index] = value
    return found


def test_native_code_refuses_what_no_file_has(isa: str) -> None:
    case = IntegerCase("", SirenSpec(frequencies=2, hidden_layers=1, width=6), Grid(5, 4), anything)
    shape, siren = native_shape(_cpu, case.spec), _cpu.IntegerSiren(isa, 1)
    good: dict[str, Any] = {
        "values": case.values,
        "multipliers": case.multipliers,
        "axes": case.encodings,
        "out": np.empty((20, 3), np.uint8),
    }
    x, y = good["axes"]
    count, narrow = case.spec.parameter_count, np.empty(59, np.uint8)
    refused: list[tuple[dict[str, Any], str]] = [
        ({"values": case.values[1:]}, f"values has {count - 1} elements; expected {count}"),
        ({"values": case.values.astype(float)}, "values has buffer format 'd'; expected 'i'"),
        ({"values": changed(case.values, 3, 2048)}, "values has 2048; allowed are -2047 to 2047"),
        ({"values": changed(case.values, 3, -(2**31))}, "values has -2147483648; allowed"),
        ({"multipliers": case.multipliers[1:]}, "multipliers has 5 elements; expected 6"),
        ({"multipliers": changed(case.multipliers, 2, 0)}, "multipliers has 0; allowed are 1 to"),
        ({"multipliers": changed(case.multipliers, 2, 17)}, "multipliers has 17; allowed are 1 to"),
        ({"multipliers": changed(case.multipliers, 2, 2**24)}, "multipliers has 16777216; allowed"),
        ({"multipliers": changed(case.multipliers, 2, -8)}, "multipliers has -8; allowed"),
        ({"axes": [x]}, "number of axes is 1; allowed are 2 to 2"),
        ({"axes": [x, y, y]}, "number of axes is 3"),
        ({"axes": [x, y[:0]]}, "axis size is 0; allowed are 1"),
        ({"axes": [x, y.astype(np.int32)]}, "axis has buffer format 'i'; expected 'h'"),
        ({"axes": [x, changed(y, 0, 31745)]}, "axis is 31745; allowed are -31744 to 31744"),
        ({"axes": [x, y.ravel()[1:]]}, "axis has 19 elements; expected 15"),
        ({"axes": [x[::2], y]}, "axis is not C-contiguous"),
        ({"out": narrow}, "out has 59 elements; expected 60"),
        ({"out": np.empty((20, 3), np.int8)}, "out has buffer format 'b'; expected 'B'"),
    ]
    siren.render(shape, **good)
    for change, message in refused:
        with pytest.raises((TypeError, ValueError), match=message):
            siren.render(shape, **(good | change))
    read_only = np.empty((20, 3), np.uint8)
    read_only.setflags(write=False)
    with pytest.raises((BufferError, ValueError)):
        siren.render(shape, **(good | {"out": read_only}))


def test_native_code_refuses_output_rows_beyond_the_bounds() -> None:
    spec = SirenSpec(frequencies=0, hidden_layers=0, width=65, out_channels=1)
    encodings = [np.zeros((1, 1), np.int16)] * 2
    values = np.zeros(spec.parameter_count, np.int32)
    weight, bias = slice(-66, -1), -1
    out = np.empty(1, np.uint8)

    def check(multipliers: list[int]) -> None:
        shape, given = native_shape(_cpu, spec), np.array(multipliers, np.int32)
        _cpu.IntegerSiren("scalar", 1).render(shape, values, given, encodings, out)

    values[weight] = 2016  # 65 * 2016 = 131040
    values[-2] += 31  # 2^17 - 1
    check([1, 1, 1, 1])
    values[-3] += 1
    with pytest.raises(ValueError, match=r"output row 0 sums to 131072 and 131072; .* below 2\^17"):
        check([1, 1, 1, 1])
    values[weight] = 0
    values[weight][:16] = 1024  # 2^14
    values[bias] = 1
    check([1, 1, 15 << 20, 1])
    values[weight][:17] = 1024
    check([1, 1, 15 << 20, 2**23])
    values[weight] = 2000  # 130,000
    check([1, 1, 2**21, 1])
    values[bias] = 2047
    with pytest.raises(ValueError, match=r"sums to 130000 and .*; .* below 2\^38"):
        check([1, 1, 2**21, 15 << 20])


def test_native_code_refuses_other_networks() -> None:
    for features, hidden_layers, message in (
        (131, 1, "features is 131; allowed are 1 to 129"),
        (3, 33, "hidden_layers is 33; allowed are 0 to 32"),
    ):
        shape = _cpu.SirenShape(
            axes=2,
            features=features,
            hidden_layers=hidden_layers,
            width=2,
            out_channels=1,
            w0=1.0,
        )
        values = np.zeros(shape.parameter_count, np.int32)
        multipliers = np.ones(2 * hidden_layers + 4, np.int32)
        axes = [np.zeros((1, features), np.int16)] * 2
        with pytest.raises(ValueError, match=message):
            _cpu.IntegerSiren("scalar", 1).render(
                shape, values, multipliers, axes, np.empty(1, np.uint8)
            )


def test_native_code_refuses_other_instruction_sets_and_threads() -> None:
    with pytest.raises(ValueError, match=r"'sse9' is not available; .* choose one of them"):
        _cpu.IntegerSiren("sse9", 1)
    with pytest.raises(ValueError, match="threads is 0; allowed are 1 to 1024"):
        _cpu.IntegerSiren("scalar", 0)


def test_renderer_refuses_what_no_file_has() -> None:
    spec = SirenSpec(frequencies=0, hidden_layers=0, width=128, out_channels=1)
    tensors = [QuantisedTensor(np.full(t.size, 2047, np.int32), 80) for t in spec.tensors]
    with pytest.raises(ValueError, match="output row 0 sums to 262016"):
        SirenRenderer(1).render(spec, tensors, Grid(2, 2))
