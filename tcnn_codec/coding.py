"""One source, fitted and coded at any width: frames → chunks → fit → … → container.

What encoding and rate control ask for. Holds one chunk of pixels at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tcnn_codec.backends.base import U8, U32, Backend
from tcnn_codec.chunks import Chunk, cut
from tcnn_codec.config import EncodeConfig
from tcnn_codec.container import StreamInfo, write_stream
from tcnn_codec.entropy import encode_tensors
from tcnn_codec.fit import fit
from tcnn_codec.io import Source
from tcnn_codec.metrics import mean_psnr, psnr
from tcnn_codec.quantise import QuantisedTensor, canonical, dequantise, quantise
from tcnn_codec.rate import Networks
from tcnn_codec.refine import balance_steps, round_gradually
from tcnn_codec.schedule import shuffle
from tcnn_codec.siren import F32, Grid, SirenSpec

LOW_RESOLUTION = 256
USUAL_WIDTH, USUAL_LAYERS, USUAL_BITS = 32, 3, 6
#: Where width is chosen for a target: at equal rate deeper and narrower is 0.1 to 0.2 dB better,
#: but networks narrower than DEEP_WIDTH do not learn when they are deep.
DEEP_LAYERS, SHALLOW_LAYERS, DEEP_WIDTH = 5, 2, 6
#: One of so many steps is of rounding.
ROUNDING_SHARE = 8
#: A trial fit takes one of so many steps, but no fewer than these.
PILOT_SHARE, LEAST_PILOT = 8, 1000
#: What rounding a network costs after training has made up for it, of what it costs at once.
REMAINING_COST = 0.35
#: Called with (chunk, chunks, step, steps, PSNR in dB).
Progress = Callable[[int, int, int, int, float], None]


@dataclass(frozen=True)
class Coded:
    """A whole file, and the PSNR in dB of what it decodes to, the mean over frames."""

    stream: bytes
    info: StreamInfo
    psnr_db: float

    @property
    def size(self) -> int:
        return len(self.stream)


@dataclass(frozen=True)
class _Item:
    """A chunk with its number, and its pixels as training takes them."""

    index: int
    chunk: Chunk
    target: U8
    order: U32


@dataclass(frozen=True)
class SourceCoder:
    """Fits and codes one source, as often as it is asked to; each time reads it anew."""

    backend: Backend
    source: Source
    config: EncodeConfig
    chunk_frames: int
    progress: Progress | None

    def check(self) -> None:
        """Raises CodecError for a source that no file can hold, before any fitting."""
        self._info(self._spec())

    def fit_and_code(self) -> Coded:
        """The file at the width and bits of the configuration."""
        spec, bits = self._spec(), self.config.bits or USUAL_BITS
        return self._code(spec, lambda item: self._fit(spec, item, self.config.fit_steps), bits)

    def networks(self) -> Networks[Coded]:
        """What rate control chooses from."""
        return Networks(
            parameters=lambda width: self._chunk_count * self._spec(width).parameter_count,
            fit=self._fit_all,
            pilot=self._pilot,
        )

    @property
    def _chunk_count(self) -> int:
        return -(-self.source.frame_count // self.chunk_frames)

    def _spec(self, width: int | None = None) -> SirenSpec:
        return choose_spec(self.source, self.config, width)

    def _info(self, spec: SirenSpec) -> StreamInfo:
        """As for a source of one frame."""
        return StreamInfo(
            kind=self.source.kind,
            height=self.source.height,
            width=self.source.width,
            channels=self.source.channels,
            spec=spec,
            time_base=self.source.time_base,
            frame_rate=self.source.frame_rate,
        )

    def _items(self, timestamps: list[int]) -> Iterator[_Item]:
        """Every chunk; timestamps: takes those of all frames read."""

        def pixels() -> Iterator[NDArray[np.uint8]]:
            for frame in self.source.frames():
                timestamps.append(frame.pts)
                yield frame.pixels

        for index, chunk in enumerate(cut(pixels(), self.chunk_frames)):
            target = chunk.pixels.reshape(-1, self.source.channels)
            yield _Item(index, chunk, target, shuffle(len(target), self.config.seed + index))

    def _code(self, spec: SirenSpec, params_of: Callable[[_Item], F32], bits: float) -> Coded:
        payloads: list[bytes] = []
        qualities: list[float] = []
        timestamps: list[int] = []
        for item in self._items(timestamps):
            tensors = self._round(spec, item, params_of(item), bits)
            payloads.append(encode_tensors(spec, tensors))
            decoded = self.backend.render(spec, dequantise(spec, tensors), item.chunk.grid)
            qualities += [psnr(a, b) for a, b in zip(item.chunk.pixels, decoded, strict=True)]
        stream, info = self._file(spec, payloads, timestamps)
        return Coded(stream, info, mean_psnr(qualities))

    def _file(
        self, spec: SirenSpec, payloads: list[bytes], timestamps: list[int]
    ) -> tuple[bytes, StreamInfo]:
        info = replace(
            self._info(spec),
            frames=self.source.frame_count,
            chunk_frames=self.chunk_frames,
            timestamps=tuple(timestamps),
        )
        return write_stream(info, payloads), info

    def _fit(self, spec: SirenSpec, item: _Item, steps: int) -> F32:
        """Parameters before quantisation, after all of these steps but those of rounding."""
        return fit(
            self.backend,
            spec,
            item.chunk.grid,
            item.target,
            item.order,
            steps=steps - steps // ROUNDING_SHARE,
            seed=self.config.seed + item.index,
            progress=self._report(item.index, 0, steps),
        )

    def _quantise(
        self, spec: SirenSpec, grid: Grid, params: F32, bits: float
    ) -> tuple[QuantisedTensor, ...]:
        """Rounded at once."""
        cost = None
        if self.config.lambda_ is not None:
            # D grows by 2 ln(2) D a bit that a step loses, R falls by 1 / pixels a parameter.
            slope = 2 * math.log(2) * REMAINING_COST * 127.5**2 * grid.pixels
            cost = self.config.lambda_ / slope
        tensors = quantise(spec, params, bits)
        return balance_steps(self.backend, spec, params, grid, tensors, cost)

    def _round(
        self, spec: SirenSpec, item: _Item, params: F32, bits: float
    ) -> tuple[QuantisedTensor, ...]:
        """Rounded part by part, and put in the order that codes best."""
        grid, steps = item.chunk.grid, self.config.fit_steps
        tensors = self._quantise(spec, grid, params, bits)
        if rounding_steps := steps // ROUNDING_SHARE:
            tensors = round_gradually(
                self.backend,
                spec,
                params,
                grid,
                item.target,
                item.order,
                tensors,
                steps=rounding_steps,
                seed=self.config.seed + item.index,
                progress=self._report(item.index, steps - rounding_steps, steps),
            )
        return canonical(spec, tensors)

    def _report(self, index: int, before: int, steps: int) -> Callable[[int, float], None] | None:
        progress = self.progress
        if progress is None:
            return None
        return lambda step, psnr_db: progress(
            index, self._chunk_count, before + step, steps, psnr_db
        )

    def _fit_all(self, width: int) -> FittedSource:
        spec = self._spec(width)
        timestamps: list[int] = []
        params = [self._fit(spec, item, self.config.fit_steps) for item in self._items(timestamps)]
        return FittedSource(self, spec, tuple(params), tuple(timestamps))

    def _pilot(self, width: int) -> float:
        """PSNR in dB after a short fit, before quantisation."""
        spec = self._spec(width)
        steps = self.config.fit_steps
        steps = min(steps, max(LEAST_PILOT, steps // PILOT_SHARE))
        qualities: list[float] = []
        for item in self._items([]):
            params = self._fit(spec, item, steps)
            decoded = self.backend.render(spec, params, item.chunk.grid)
            qualities += [psnr(a, b) for a, b in zip(item.chunk.pixels, decoded, strict=True)]
        return mean_psnr(qualities)


@dataclass(frozen=True)
class FittedSource:
    """The parameters of every chunk before quantisation; see rate.Fitted."""

    coder: SourceCoder
    spec: SirenSpec
    params: tuple[F32, ...]
    timestamps: tuple[int, ...]

    def code(self, bits: float) -> Coded:
        return self.coder._code(self.spec, lambda item: self.params[item.index], bits)

    def rough_size(self, bits: float) -> int:
        payloads = []
        for index, params in enumerate(self.params):
            frames = min(
                self.coder.chunk_frames, len(self.timestamps) - index * self.coder.chunk_frames
            )
            grid = Grid(self.coder.source.width, self.coder.source.height, frames)
            tensors = self.coder._quantise(self.spec, grid, params, bits)
            payloads.append(encode_tensors(self.spec, canonical(self.spec, tensors)))
        return len(self.coder._file(self.spec, payloads, list(self.timestamps))[0])


def choose_spec(source: Source, config: EncodeConfig, width: int | None = None) -> SirenSpec:
    """The network for every chunk of a source. width: the one chosen for a target."""
    low = max(source.height, source.width) <= LOW_RESOLUTION
    layers = USUAL_LAYERS
    if width is not None:
        layers = DEEP_LAYERS if width >= DEEP_WIDTH else SHALLOW_LAYERS
    return SirenSpec(
        axes=3 if source.kind == "video" else 2,
        frequencies=config.frequencies if config.frequencies is not None else 12 if low else 16,
        hidden_layers=config.hidden_layers if config.hidden_layers is not None else layers,
        width=width or config.width or USUAL_WIDTH,
        out_channels=source.channels,
    )
