"""One source, fitted and coded at any width: frames → chunks → fit → … → bitstream.

What encoding and rate control ask for. Holds one chunk of pixels at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from tcnn_codec.backends.base import U8, U32, Backend
from tcnn_codec.bitstream.header import StreamInfo
from tcnn_codec.bitstream.records import write_stream
from tcnn_codec.chunks import Chunk, cut
from tcnn_codec.coders.payload import LEAST_TENSOR_BYTES, encode_tensors
from tcnn_codec.coders.quantised import QuantisedTensor
from tcnn_codec.config import EncodeConfig
from tcnn_codec.fit import fit
from tcnn_codec.io import Source
from tcnn_codec.metrics import mean_psnr, psnr
from tcnn_codec.quantise import canonical, constant, dequantise, quantise
from tcnn_codec.rate import USUAL_BITS, Networks
from tcnn_codec.refine import balance_steps, deviation_from, round_gradually
from tcnn_codec.siren import F32, Grid, SirenSpec
from tcnn_codec.training.batches import batch_size, shuffle
from tcnn_codec.training.loop import Progress as StepProgress
from tcnn_codec.training.loop import psnr_of_loss

LOW_RESOLUTION = 256
USUAL_WIDTH, USUAL_LAYERS = 32, 3
#: Where width is chosen for a target: at equal rate deeper and narrower is 0.1 to 0.2 dB better,
#: but networks narrower than DEEP_WIDTH do not learn when they are deep.
DEEP_LAYERS, SHALLOW_LAYERS, DEEP_WIDTH = 5, 2, 6
#: One of so many steps is of rounding.
ROUNDING_SHARE = 8
#: A trial fit takes one of so many steps, but no fewer than these.
PILOT_SHARE, LEAST_PILOT = 8, 1000
#: What rounding a network costs after training has made up for it, of what it costs at once; on
#: Kodak images at 6 bit.
REMAINING_COST = 0.35
#: Called with (chunk, chunks, step, steps, PSNR in dB).
Progress = Callable[[int, int, int, int, float], None]
Tensors = tuple[QuantisedTensor, ...]


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
class Item:
    """A chunk with its number, and its pixels as training takes them.

    target: uint8 [pixels, channels]. order: a shuffle of the pixels' indices. timestamps: of the
    chunk's frames.
    """

    index: int
    chunk: Chunk
    target: U8
    order: U32
    timestamps: tuple[int, ...]

    @cached_property
    def constant(self) -> tuple[U8, float]:
        """The best single colour, uint8 [channels], and the mean squared error of having it."""
        levels, colour, squares = np.arange(256), [], 0
        for channel in range(self.target.shape[1]):
            counts = np.zeros(256, np.int64)
            for frame in self.chunk.pixels:
                counts += np.bincount(frame[..., channel].ravel(), minlength=256)
            colour.append(round(int(counts @ levels) / len(self.target)))
            squares += int(counts @ np.square(levels - colour[-1]))
        return np.array(colour, np.uint8), squares / self.target.size


@dataclass(frozen=True)
class Rounded:
    """A chunk's network in integers, and what a decoder makes of it.

    qualities: PSNR in dB of each frame. error: mean squared, of all 8-bit samples.
    """

    tensors: Tensors
    qualities: list[float]
    error: float


@dataclass(frozen=True)
class ChunkCoder:
    """The stages from pixels to integers, for chunks that have networks of one shape."""

    backend: Backend
    decoder: Backend
    config: EncodeConfig
    spec: SirenSpec

    def fit(self, item: Item, steps: int, progress: StepProgress | None) -> F32:
        """Parameters before quantisation, after all of these steps but those of rounding."""
        if self._is_constant(item):
            return dequantise(self.spec, constant(self.spec, item.constant[0]))
        return fit(
            self.backend,
            self.spec,
            item.chunk.grid,
            item.target,
            item.order,
            steps=steps - steps // ROUNDING_SHARE,
            seed=self.config.seed + item.index,
            progress=progress,
        )

    def round_at_once(self, grid: Grid, params: F32, bits: float) -> Tensors:
        """Steps of `bits` bits a weight on average, or by lambda_; every weight to the nearest."""
        return canonical(self.spec, self._choose_steps(grid, params, bits)[0])

    def round(self, item: Item, params: F32, bits: float, progress: StepProgress | None) -> Rounded:
        """The same steps, rounded part by part in the last of the configuration's steps.

        Or, should that decode to something worse, the network rounded at once, with those steps or
        with `bits` bits for every tensor, or, unless a size was asked for, one colour.
        """
        if self._is_constant(item):
            return self._measure(item, constant(self.spec, item.constant[0]))
        grid, steps = item.chunk.grid, self.config.fit_steps // ROUNDING_SHARE
        chosen, plain = self._choose_steps(grid, params, bits)
        found = [chosen] if chosen is plain else [chosen, plain]
        if steps:
            rounded = round_gradually(
                self.backend,
                self.spec,
                params,
                grid,
                item.target,
                item.order,
                chosen,
                steps=steps,
                seed=self.config.seed + item.index,
                progress=progress,
            )
            found.insert(0, rounded)
        if 0 < steps * batch_size(grid.pixels) < grid.pixels:
            # Decoding so long a chunk takes longer than rounding it did, so that only what deviates
            # less than the first is worth it.
            deviation = deviation_from(self.backend, self.spec, params, grid)
            far = [deviation(dequantise(self.spec, tensors)) for tensors in found]
            found = [tensors for tensors, other in zip(found, far, strict=True) if other <= far[0]]
        measured = [self._measure(item, canonical(self.spec, tensors)) for tensors in found]
        best, cost = min(((one, self._cost(grid, one)) for one in measured), key=lambda p: p[1])
        if not self._sized:
            colour, error = item.constant
            tensors = constant(self.spec, colour)
            if error + self._price(grid, tensors) <= cost:
                return self._measure(item, tensors)
        return best

    def qualities(self, item: Item, params: F32) -> list[float]:
        """PSNR in dB of each frame as a decoder outputs it."""
        decoded = self.decoder.render(self.spec, params, item.chunk.grid)
        return [psnr(a, b) for a, b in zip(item.chunk.pixels, decoded, strict=True)]

    def _choose_steps(self, grid: Grid, params: F32, bits: float) -> tuple[Tensors, Tensors]:
        """params rounded at once with the steps to use, and with `bits` bits for every tensor; the
        same object where these are the steps to use."""
        plain = quantise(self.spec, params, bits)
        cost, price = None, None
        if self.config.lambda_ is not None:
            # D grows by 2 ln(2) D a bit that a step loses, R falls by 1 / pixels a parameter.
            unit = REMAINING_COST * 127.5**2
            cost = self.config.lambda_ / (2 * math.log(2) * unit * grid.pixels)
            price = lambda tensors: self._price(grid, tensors) / unit  # noqa: E731
        balanced = balance_steps(self.backend, self.spec, params, grid, plain, cost, price)
        return (plain, plain) if balanced == plain else (balanced, plain)

    def _measure(self, item: Item, tensors: Tensors) -> Rounded:
        decoded = self.decoder.render(self.spec, dequantise(self.spec, tensors), item.chunk.grid)
        qualities, squares = [], 0
        for original, found in zip(item.chunk.pixels, decoded, strict=True):
            qualities.append(psnr(original, found))
            squares += int(np.square(original.astype(np.int32) - found).sum(dtype=np.int64))
        return Rounded(tensors, qualities, squares / item.target.size)

    @property
    def _sized(self) -> bool:
        """Whether the file is to have a size, which a network of one colour would not have."""
        return self.config.bytes is not None or self.config.bpp is not None

    def _is_constant(self, item: Item) -> bool:
        return not self._sized and item.constant[1] == 0

    def _cost(self, grid: Grid, rounded: Rounded) -> float:
        return rounded.error + self._price(grid, rounded.tensors)

    def _price(self, grid: Grid, tensors: Sequence[QuantisedTensor]) -> float:
        """lambda R, in squared levels of 8-bit samples; 0 without lambda."""
        if self.config.lambda_ is None:
            return 0.0
        return self.config.lambda_ * 8 * len(encode_tensors(self.spec, tensors)) / grid.pixels


@dataclass(frozen=True)
class SourceCoder:
    """Fits and codes one source, as often as it is asked to; each time reads it anew.

    decoder: the backend whose pixels a decoder puts out, by which quality is measured.
    """

    backend: Backend
    decoder: Backend
    source: Source
    config: EncodeConfig
    chunk_frames: int
    progress: Progress | None

    def check(self) -> None:
        """Raises CodecError for a source that no file can hold, before any fitting."""
        self._first_info(choose_spec(self.source, self.config))

    def fit_and_code(self) -> Coded:
        """The file at the width and bits of the configuration."""
        coder, steps = self._chunk_coder(), self.config.fit_steps
        bits = self.config.bits or USUAL_BITS
        return self.code(
            coder, lambda item: coder.fit(item, steps, self._report(item, 0, steps)), bits
        )

    def networks(self) -> Networks[Coded]:
        """What rate control chooses from."""
        worthwhile = self._pilot_steps < self.config.fit_steps
        other = None
        if self.config.hidden_layers is None:
            usual = replace(self.config, hidden_layers=USUAL_LAYERS)
            other = replace(self, config=usual).networks()
        return Networks(
            parameters=self._parameters,
            fit=self._fit,
            pilot=self._pilot if worthwhile else None,
            least_size=self._least_size,
            full_length=self.config.fit_steps / self._pilot_steps,
            other=other,
        )

    def code(self, coder: ChunkCoder, params_of: Callable[[Item], F32], bits: float) -> Coded:
        """The file, from every chunk's parameters before quantisation."""
        payloads: list[bytes] = []
        qualities: list[float] = []
        timestamps: list[int] = []
        steps = self.config.fit_steps
        for item in self._items():
            report = self._report(item, steps - steps // ROUNDING_SHARE, steps)
            rounded = coder.round(item, params_of(item), bits, report)
            payloads.append(encode_tensors(coder.spec, rounded.tensors))
            qualities += rounded.qualities
            timestamps += item.timestamps
            del item  # before the next chunk is read
        info = self._info(coder.spec, timestamps)
        return Coded(write_stream(info, payloads), info, mean_psnr(qualities))

    def _fit(self, width: int) -> FittedSource:
        coder, steps = self._chunk_coder(width), self.config.fit_steps
        params: list[F32] = []
        timestamps: list[int] = []
        trained: list[float] = []
        colours: list[float] = []
        for item in self._items():
            seen = [math.inf]
            params.append(coder.fit(item, steps, self._report(item, 0, steps, seen)))
            timestamps += item.timestamps
            trained.append(seen[-1])
            colours.append(psnr_of_loss(item.constant[1] / 127.5**2))
            del item
        info = self._info(coder.spec, timestamps)
        return FittedSource(
            self, coder, info, tuple(params), mean_psnr(trained), mean_psnr(colours)
        )

    def _pilot(self, width: int, length: float) -> float:
        """PSNR in dB after a short fit, before quantisation. length: in pilots of usual length."""
        coder, steps = self._chunk_coder(width), round(length * self._pilot_steps)
        qualities: list[float] = []
        for item in self._items():
            report = self._report(item, 0, steps - steps // ROUNDING_SHARE)
            qualities += coder.qualities(item, coder.fit(item, steps, report))
            del item
        return mean_psnr(qualities)

    @property
    def _pilot_steps(self) -> int:
        return max(LEAST_PILOT, self.config.fit_steps // PILOT_SHARE)

    def _chunk_coder(self, width: int | None = None) -> ChunkCoder:
        spec = choose_spec(self.source, self.config, width)
        return ChunkCoder(self.backend, self.decoder, self.config, spec)

    def _parameters(self, width: int) -> int:
        """Of all chunks' networks."""
        return self._chunk_count * choose_spec(self.source, self.config, width).parameter_count

    @property
    def _chunk_count(self) -> int:
        return -(-self.source.frame_count // self.chunk_frames)

    @property
    def _least_size(self) -> int:
        """Bytes of a file of empty tensors."""
        spec = choose_spec(self.source, self.config, 1)
        header = len(write_stream(self._first_info(spec), [b""]))
        return header + self._chunk_count * LEAST_TENSOR_BYTES * len(spec.tensors)

    def _items(self) -> Iterator[Item]:
        timestamps: list[int] = []

        def pixels() -> Iterator[U8]:
            for frame in self.source.frames():
                timestamps.append(frame.pts)
                yield frame.pixels

        for index, chunk in enumerate(cut(pixels(), self.chunk_frames)):
            target = chunk.pixels.reshape(-1, self.source.channels)
            order = shuffle(len(target), self.config.seed + index)
            yield Item(index, chunk, target, order, tuple(timestamps))
            timestamps.clear()
            del chunk, target, order  # before the next chunk is read

    def _first_info(self, spec: SirenSpec) -> StreamInfo:
        """As if there were one frame."""
        return StreamInfo(
            kind=self.source.kind,
            height=self.source.height,
            width=self.source.width,
            channels=self.source.channels,
            spec=spec,
            time_base=self.source.time_base,
            frame_rate=self.source.frame_rate,
        )

    def _info(self, spec: SirenSpec, timestamps: list[int]) -> StreamInfo:
        return replace(
            self._first_info(spec),
            frames=self.source.frame_count,
            chunk_frames=self.chunk_frames,
            timestamps=tuple(timestamps),
        )

    def _report(
        self, item: Item, before: int, steps: int, seen: list[float] | None = None
    ) -> StepProgress:
        """seen: takes each PSNR too."""

        def report(step: int, psnr_db: float) -> None:
            if seen is not None:
                seen.append(psnr_db)
            if self.progress is not None:
                self.progress(item.index, self._chunk_count, before + step, steps, psnr_db)

        return report


@dataclass(frozen=True)
class FittedSource:
    """Every chunk's parameters before quantisation; what rate.Fitted asks for.

    trained_db, colour_db: the mean over chunks of PSNR in dB, alpha counted in, before rounding and
    with one colour for each.
    """

    source_coder: SourceCoder
    chunk_coder: ChunkCoder
    info: StreamInfo
    params: tuple[F32, ...]
    trained_db: float
    colour_db: float

    def code(self, bits: float) -> Coded:
        return self.source_coder.code(self.chunk_coder, lambda item: self.params[item.index], bits)

    def rough_size(self, bits: float) -> int:
        rounded = (
            self.chunk_coder.round_at_once(self.info.grid(index), params, bits)
            for index, params in enumerate(self.params)
        )
        payloads = [encode_tensors(self.chunk_coder.spec, tensors) for tensors in rounded]
        return len(write_stream(self.info, payloads))


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
