"""One source, fitted and coded with networks of any size: chunks → jobs → results → the file.

What encoding and rate control ask for. Holds one chunk of pixels at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
from tcnn_codec.families.contract import USUAL_BITS, Fitter, Ladder, Rounding
from tcnn_codec.layout import Spec
from tcnn_codec.metrics import mean_psnr
from tcnn_codec.picture import PictureFormat

#: One of so many steps is of rounding.
ROUNDING_SHARE = 8
#: A trial fit takes one of so many steps, but no fewer than these.
PILOT_SHARE, LEAST_PILOT = 8, 1000
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

    picture, chunks: of the source. fitter: of the family.
    """

    picture: PictureFormat
    chunks: ChunkReader
    config: EncodeConfig
    fitter: Fitter[Any]
    executor: Executor
    progress: Progress | None

    def check(self) -> None:
        """Raises CodecError for a source that no file can hold, before any fitting."""
        self._first_info(self.fitter.spec(self.picture))

    def fit_and_code(self) -> Coded:
        """The file at the size and bits of the configuration."""
        return self.code(self.fitter.spec(self.picture), None, self.config.bits or USUAL_BITS)

    def networks(self, ladder: Ladder[Any] | None = None) -> Networks[Coded]:
        """What rate control chooses from."""
        climbed = ladder or self.fitter.ladder(self.picture)
        pilot_steps = max(LEAST_PILOT, self.config.fit_steps // PILOT_SHARE)

        def pilot(size: int, length: float) -> float:
            return self._pilot(climbed.spec(size), round(length * pilot_steps))

        return Networks(
            ladder=climbed,
            chunks=self.chunks.count,
            fit=lambda size: self._fit(climbed.spec(size)),
            pilot=pilot if pilot_steps < self.config.fit_steps else None,
            least_size=self._least_size(climbed.spec(1)),
            full_length=self.config.fit_steps / pilot_steps,
            other=None if climbed.other is None else self.networks(climbed.other),
        )

    def code(self, spec: Spec, params: tuple[F32, ...] | None, bits: float) -> Coded:
        """The file. params: of every chunk before quantisation, or None to fit them first."""
        rounding = self.rounding(bits)
        results = list(self._run(spec, self.config.fit_steps, params, rounding=rounding))
        qualities = [quality for result in results for quality in result.qualities]
        info = self._info(spec, results)
        stream = write_stream(info, [result.payload for result in results])
        return Coded(stream, info, mean_psnr(qualities))

    def rounding(self, bits: float) -> Rounding:
        return Rounding(bits, self.config.lambda_, self.config.fit_steps // ROUNDING_SHARE)

    def _fit(self, spec: Spec) -> FittedSource:
        results = list(self._run(spec, self.config.fit_steps, None))
        return FittedSource(
            coder=self,
            spec=spec,
            info=self._info(spec, results),
            params=tuple(result.params for result in results),
            trained_db=mean_psnr([result.trained_db for result in results]),
            colour_db=mean_psnr([result.colour_db for result in results]),
        )

    def _pilot(self, spec: Spec, steps: int) -> float:
        """PSNR in dB after a short fit, before quantisation."""
        results = self._run(spec, steps, None, shown=True)
        return mean_psnr([quality for result in results for quality in result.qualities])

    def _run(
        self,
        spec: Spec,
        steps: int,
        params: tuple[F32, ...] | None,
        rounding: Rounding | None = None,
        shown: bool = False,
    ) -> Iterator[ChunkResult]:
        """One job per chunk. steps: of the whole, of which rounding has its share."""
        fit_steps = steps - steps // ROUNDING_SHARE
        # Progress counts to what is done here, which in a pilot is no rounding.
        shown_steps = fit_steps if shown else steps

        def jobs() -> Iterator[ChunkJob]:
            for chunk in self.chunks:
                yield ChunkJob(
                    chunk=chunk,
                    spec=spec.of(chunk.grid.frames),
                    seed=self.config.seed + chunk.index,
                    fit_steps=fit_steps,
                    params=None if params is None else params[chunk.index],
                    rounding=rounding,
                    shown=shown,
                    one_colour=self.config.bytes is None and self.config.bpp is None,
                )
                del chunk  # before the next one is read

        def report(index: int, step: int, psnr_db: float) -> None:
            if self.progress is not None:
                self.progress(index, self.chunks.count, step, shown_steps, psnr_db)

        return self.executor.run(jobs(), report)

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
            networks=(spec,),
            time_base=self.picture.time_base,
            frame_rate=self.picture.frame_rate,
            family=self.fitter.family,
        )

    def _info(self, spec: Spec, results: list[ChunkResult]) -> StreamInfo:
        return replace(
            self._first_info(spec),
            networks=tuple(spec.of(len(result.timestamps)) for result in results),
            chunk_frames=tuple(len(result.timestamps) for result in results),
            timestamps=tuple(time for result in results for time in result.timestamps),
        )


@dataclass(frozen=True)
class FittedSource:
    """Every chunk's parameters before quantisation; what rate.Fitted asks for.

    trained_db, colour_db: the mean over chunks of PSNR in dB, alpha counted in, before rounding and
    with one colour for each.
    """

    coder: SourceCoder
    spec: Spec
    info: StreamInfo
    params: tuple[F32, ...]
    trained_db: float
    colour_db: float

    def code(self, bits: float) -> Coded:
        return self.coder.code(self.spec, self.params, bits)

    def rough_size(self, bits: float) -> int:
        fitter, specs, rounding = self.coder.fitter, self.info.networks, self.coder.rounding(bits)
        payloads = []
        for index, (spec, params) in enumerate(zip(specs, self.params, strict=True)):
            tensors = fitter.round_at_once(spec, params, self.info.grid(index), rounding)
            payloads.append(fitter.family.encode(spec, tensors))
        return len(write_stream(self.info, payloads))
