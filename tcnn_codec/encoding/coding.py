"""One source, fitted and coded with networks of any size: chunks → jobs → results → the file.

What encoding and rate control ask for. Holds one chunk of pixels at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tcnn_codec.bitstream.header import StreamInfo
from tcnn_codec.bitstream.records import write_stream
from tcnn_codec.config import EncodeConfig
from tcnn_codec.dtypes import F32
from tcnn_codec.encoding.chunks import ChunkReader
from tcnn_codec.encoding.executors import Executor
from tcnn_codec.encoding.jobs import ChunkJob, ChunkResult
from tcnn_codec.encoding.rate import Networks
from tcnn_codec.families.contract import USUAL_BITS, Fitter, Ladder, Rounding, Tensors
from tcnn_codec.grid import Grid
from tcnn_codec.layout import Spec
from tcnn_codec.metrics import mean_psnr
from tcnn_codec.picture import PictureFormat

#: One of so many steps is of rounding.
ROUNDING_SHARE = 8
#: A trial fit takes one of so many steps, but no fewer than these.
PILOT_SHARE, LEAST_PILOT = 8, 1000
#: Of a difference, in units of a key chunk of the same network; about what is measured at 5 and 10
#: frames a chunk.
DIFFERENCE_SIZE = 0.55
#: The network of every chunk.
Specs = tuple[Spec, ...]
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
class SourceCoder:
    """Fits and codes one source, as often as it is asked to.

    picture, chunks: of the source. fitter: of the family. shares: of every chunk its parameters, in
    units of the mean chunk's. key_interval: every so many chunks one is a key chunk; 1 stands for
    all.
    """

    picture: PictureFormat
    chunks: ChunkReader
    config: EncodeConfig
    fitter: Fitter[Any]
    executor: Executor
    progress: Progress | None
    shares: tuple[float, ...]
    key_interval: int

    def check(self) -> None:
        """Raises CodecError for a source that no file can hold, before any fitting."""
        spec = self.fitter.spec(self.picture)
        self.info(self._of_frames([spec] * self.chunks.count), ())

    def fit_and_code(self) -> Coded:
        """The file at the size and bits of the configuration."""
        specs = self._of_frames([self.fitter.spec(self.picture)] * self.chunks.count)
        return self.code(specs, {}, self.config.bits or USUAL_BITS)

    def networks(self, ladder: Ladder[Any] | None = None) -> Networks[Coded]:
        """What rate control chooses from."""
        climbed = ladder or self.fitter.ladder(self.picture)
        pilot_steps = max(LEAST_PILOT, self.config.fit_steps // PILOT_SHARE)
        keys = -(-self.chunks.count // self.key_interval)

        def pilot(size: int, length: float) -> float:
            return self._pilot(self._specs(climbed, size), round(length * pilot_steps))

        return Networks(
            ladder=climbed,
            chunks=keys + DIFFERENCE_SIZE * (self.chunks.count - keys),
            fit=lambda size: self._fit(self._specs(climbed, size)),
            pilot=pilot if pilot_steps < self.config.fit_steps else None,
            least_size=self._least_size(climbed.spec(1)),
            full_length=self.config.fit_steps / pilot_steps,
            other=None if climbed.other is None else self.networks(climbed.other),
        )

    def code(self, specs: Specs, params: dict[int, F32], bits: float) -> Coded:
        """The file. params: of key chunks before quantisation; others are fitted, and added."""
        results: list[ChunkResult] = []
        for result in self._run(specs, self.config.fit_steps, params, bits=bits):
            results.append(result)
            if result.params is not None:
                params[result.index] = result.params
        qualities = [quality for result in results for quality in result.qualities]
        info = self.info(specs, [result.is_difference for result in results])
        info = replace(info, timestamps=tuple(t for result in results for t in result.timestamps))
        stream = write_stream(info, [result.payload for result in results])
        return Coded(stream, info, mean_psnr(qualities))

    def rounding(self, bits: float, steps: int) -> Rounding:
        """steps: of the whole fit."""
        return Rounding(bits, self.config.lambda_, steps // ROUNDING_SHARE)

    def steps_of(self, specs: Specs, index: int, steps: int | None = None) -> int:
        """Of chunk `index`: those that the user has set, or of a preset what its network wants.

        steps: a preset's; None takes the configuration's.
        """
        steps = self.config.fit_steps if steps is None else steps
        if self.config.steps is not None:
            return steps
        grid = Grid(self.picture.width, self.picture.height, self.chunks.lengths[index])
        return round(steps * self.fitter.effort(specs[index], grid))

    def is_key(self, index: int) -> bool:
        """Whether chunk `index` is a key chunk, whatever is in it."""
        return index % self.key_interval == 0

    def info(self, specs: Specs, differences: Sequence[bool]) -> StreamInfo:
        """That of the whole file, as if its frames were a tick apart."""
        frames = self.picture.frame_count
        return replace(
            self._first_info(specs[0]),
            networks=specs,
            chunk_frames=self.chunks.lengths,
            chunk_kinds=tuple(map(int, differences)) if any(differences) else (),
            timestamps=tuple(range(frames)),
        )

    def _specs(self, ladder: Ladder[Any], size: int) -> Specs:
        """Every chunk's network, where the mean chunk's has this size."""
        mean = ladder.spec(size).parameter_count
        sizes = {share: nearest_size(ladder, share * mean) for share in set(self.shares)}
        return self._of_frames([ladder.spec(sizes[share]) for share in self.shares])

    def _of_frames(self, specs: Sequence[Spec]) -> Specs:
        pairs = zip(specs, self.chunks.lengths, strict=True)
        return tuple(spec.of(frames) for spec, frames in pairs)

    def _fit(self, specs: Specs) -> FittedSource:
        results = list(self._run(specs, self.config.fit_steps, {}))
        return FittedSource(
            coder=self,
            specs=specs,
            params={r.index: r.params for r in results if r.params is not None},
            trained_db=mean_psnr([result.trained_db for result in results]),
            colour_db=mean_psnr([result.colour_db for result in results]),
        )

    def _pilot(self, specs: Specs, steps: int) -> float:
        """PSNR in dB after a short fit, before quantisation."""
        results = self._run(specs, steps, {}, shown=True)
        return mean_psnr([quality for result in results for quality in result.qualities])

    def _run(
        self,
        specs: Specs,
        steps: int,
        params: dict[int, F32],
        bits: float | None = None,
        shown: bool = False,
    ) -> Iterator[ChunkResult]:
        """One job per chunk, or per key chunk where nothing is coded.

        steps: a preset's, of which rounding has its share. bits: to code with; None does not.
        """
        before: Tensors | None = None

        def jobs() -> Iterator[ChunkJob]:
            for chunk in self.chunks:
                index = chunk.index
                if bits is None and not self.is_key(index):
                    continue
                of_chunk = self.steps_of(specs, index, steps)
                differs = not self.is_key(index) and specs[index].of(1) == specs[index - 1].of(1)
                yield ChunkJob(
                    chunk=chunk,
                    spec=specs[index],
                    seed=self.config.seed + index,
                    fit_steps=of_chunk - of_chunk // ROUNDING_SHARE,
                    params=params.get(index),
                    rounding=None if bits is None else self.rounding(bits, of_chunk),
                    shown=shown,
                    one_colour=self.config.bytes is None and self.config.bpp is None,
                    before=before if differs else None,
                )
                del chunk  # before the next one is read

        def report(index: int, step: int, psnr_db: float) -> None:
            if self.progress is not None:
                most = self.steps_of(specs, index, steps)
                if shown:  # a pilot is not rounded
                    most -= most // ROUNDING_SHARE
                self.progress(index, self.chunks.count, min(step, most), most, psnr_db)

        for result in self.executor.run(jobs(), report):
            before = result.tensors
            yield result

    def _least_size(self, spec: Spec) -> int:
        """Bytes of a file of empty tensors."""
        header = len(write_stream(self._first_info(spec), [b""]))
        return header + self.chunks.count * self.fitter.family.least_payload(spec)

    def _first_info(self, spec: Spec) -> StreamInfo:
        """As if there were one frame."""
        return StreamInfo(
            kind=self.picture.kind,
            height=self.picture.height,
            width=self.picture.width,
            channels=self.picture.channels,
            networks=(spec.of(1),),
            time_base=self.picture.time_base,
            frame_rate=self.picture.frame_rate,
            family=self.fitter.family,
        )


@dataclass(frozen=True)
class FittedSource:
    """Every key chunk's parameters before quantisation, by number; what rate.Fitted asks for.

    trained_db, colour_db: the mean over chunks of PSNR in dB, alpha counted in, before rounding and
    with one colour for each.
    """

    coder: SourceCoder
    specs: Specs
    params: dict[int, F32]
    trained_db: float
    colour_db: float

    def code(self, bits: float) -> Coded:
        return self.coder.code(self.specs, self.params, bits)

    def rough_size(self, bits: float) -> int:
        coder = self.coder
        info = coder.info(self.specs, [not coder.is_key(i) for i in range(len(self.specs))])
        payloads: list[bytes] = []
        for index, spec in enumerate(self.specs):
            if coder.is_key(index):
                rounding = coder.rounding(bits, coder.steps_of(self.specs, index))
                tensors = coder.fitter.round_at_once(
                    spec, self.params[index], info.grid(index), rounding
                )
                key = coder.fitter.family.encode(spec, tensors)
                payloads.append(key)
            else:
                payloads.append(key[: round(DIFFERENCE_SIZE * len(key))])
        return len(write_stream(info, payloads))


def nearest_size(ladder: Ladder[Any], parameters: float) -> int:
    """The size of network whose number of parameters has the nearest logarithm."""
    goal = math.log(max(1.0, parameters))
    return min(
        range(1, ladder.count + 1),
        key=lambda size: abs(math.log(ladder.spec(size).parameter_count) - goal),
    )
