"""What is to be done with one chunk, as a job that any process can do, and its result."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tcnn_codec.dtypes import F32, U8
from tcnn_codec.encoding.chunks import Chunk
from tcnn_codec.families.contract import Fitter, Renderer, Rounding, Tensors
from tcnn_codec.layout import Spec
from tcnn_codec.metrics import psnr
from tcnn_codec.training.job import Job
from tcnn_codec.training.loop import StepReport, psnr_of_loss

#: A difference is fitted in a share of the steps of a key chunk: it begins near to its end.
DIFFERENCE_STEPS = 2


@dataclass(frozen=True, eq=False)
class ChunkJob:
    """A network to be fitted to a chunk, and to be coded; can be pickled.

    fit_steps: of training before rounding. params: None, or the network fitted before, float32
    [parameter_count]. rounding: how it is coded; None stops before. shown: whether the network is
    rendered before it is coded. one_colour: whether a network of one colour is allowed, which has
    no size that could be asked for. seed: of everything random. before: the network of the chunk
    before, to which this one may be coded as a difference.
    """

    chunk: Chunk
    spec: Spec
    seed: int
    fit_steps: int
    params: F32 | None = None
    rounding: Rounding | None = None
    shown: bool = False
    one_colour: bool = True
    before: Tensors | None = None


@dataclass(frozen=True, eq=False)
class ChunkResult:
    """What came of a ChunkJob.

    params: the network before quantisation, float32 [parameter_count], or None of a difference.
    payload: its code, empty where none was asked for; tensors: what is coded. is_difference: to the
    chunk before. qualities: PSNR in dB of each frame as a decoder outputs it, or as the
    network before quantisation shows it; empty where it was not to be shown. trained_db, colour_db:
    PSNR in dB, alpha counted in, that training saw last (infinite where there was none), and that
    of the best single colour.
    """

    index: int
    timestamps: tuple[int, ...]
    params: F32 | None
    payload: bytes
    tensors: Tensors | None
    is_difference: bool
    qualities: tuple[float, ...]
    trained_db: float
    colour_db: float


@dataclass(frozen=True)
class Tools:
    """What a process does jobs with. renderer: a decoder's, by whose pixels quality is measured."""

    fitter: Fitter[Any]
    renderer: Renderer[Any]

    @classmethod
    def of(cls, fitter: Fitter[Any]) -> Tools:
        return cls(fitter, fitter.renderer())


@dataclass(frozen=True, eq=False)
class _Coded:
    """A network in integers, and what a decoder makes of it.

    cost: the mean squared error of all 8-bit samples and, with lambda, lambda R.
    """

    payload: bytes
    tensors: Tensors
    qualities: tuple[float, ...]
    cost: float
    is_difference: bool = False


def do(job: ChunkJob, tools: Tools, report: StepReport) -> ChunkResult:
    """The result of a job; the same in every process of the same machine and device.

    report: called with the steps done, those of fitting and of rounding together. Raises CodecError
    where the fit diverges.
    """
    work, seen = _Work(job, tools), [math.inf]

    def report_fit(step: int, psnr_db: float) -> None:
        seen.append(psnr_db)
        report(step, psnr_db)

    def report_rounding(step: int, psnr_db: float) -> None:
        report(job.fit_steps + step, psnr_db)

    coded = None
    if job.before is not None and job.rounding is not None:
        coded = work.differ(job.before, job.rounding, report_fit)
    params = job.params
    if params is None and coded is None:
        params = work.fit(report_fit)
    qualities = tuple[float, ...]()
    if coded is None and params is not None and job.rounding is not None:
        coded = work.round(params, job.rounding, report_rounding)
    if coded is not None:
        qualities = coded.qualities
    elif job.shown and params is not None:
        shown = tools.fitter.render(job.spec, params, job.chunk.grid)
        qualities = _qualities(job.chunk.pixels, shown)
    return ChunkResult(
        index=job.chunk.index,
        timestamps=job.chunk.timestamps,
        params=params,
        payload=b"" if coded is None else coded.payload,
        tensors=None if coded is None else coded.tensors,
        is_difference=coded is not None and coded.is_difference,
        qualities=qualities,
        trained_db=seen[-1],
        colour_db=psnr_of_loss(work.colour_error / 127.5**2),
    )


class _Work:
    """A job in progress."""

    def __init__(self, job: ChunkJob, tools: Tools) -> None:
        self._job, self._tools, self._fitter = job, tools, tools.fitter
        self._pixels, self._grid = job.chunk.pixels, job.chunk.grid
        self._colour, self.colour_error = best_colour(self._pixels)
        self._is_one_colour = job.one_colour and self.colour_error == 0

    @cached_property
    def _training(self) -> Job[Spec]:
        return Job.of(self._job.spec, self._pixels, self._job.seed)

    def fit(self, report: StepReport) -> F32:
        """Parameters before quantisation."""
        spec = self._job.spec
        if self._is_one_colour:
            return self._fitter.constant(spec, self._colour)[0]
        start = self._fitter.start(spec, self._job.seed)
        return self._fitter.fit(self._training, start, self._job.fit_steps, report)

    def differ(self, before: Tensors, rounding: Rounding, report: StepReport) -> _Coded | None:
        """The network as a difference to the one before; None where that is not to be had."""
        if self._is_one_colour:
            return None
        steps = self._job.fit_steps // DIFFERENCE_STEPS, rounding.steps // DIFFERENCE_STEPS
        tensors = self._fitter.differ(self._training, before, *steps, report)
        return None if tensors is None else self._code(tensors, rounding, before)

    def round(self, params: F32, rounding: Rounding, report: StepReport) -> _Coded:
        """The best of what the family makes of the network, or, where that is allowed and no worse,
        one colour."""
        one_colour = self._fitter.constant(self._job.spec, self._colour)[1]
        if self._is_one_colour:
            return self._code(one_colour, rounding)
        found = self._fitter.round(self._training, params, rounding, report)
        coded = [self._code(tensors, rounding) for tensors in found]
        best = min(coded, key=lambda one: one.cost)
        if self._job.one_colour:
            payload = self._fitter.family.encode(self._job.spec, one_colour)
            if self.colour_error + self._price(payload, rounding) <= best.cost:
                return self._code(one_colour, rounding)
        return best

    def _code(self, tensors: Tensors, rounding: Rounding, before: Tensors | None = None) -> _Coded:
        decoded = self._tools.renderer.render(self._job.spec, tensors, self._grid)
        squares = 0
        for original, shown in zip(self._pixels, decoded, strict=True):
            squares += int(np.square(original.astype(np.int32) - shown).sum(dtype=np.int64))
        payload = self._fitter.family.encode(self._job.spec, tensors, before)
        cost = squares / self._pixels.size + self._price(payload, rounding)
        shown = _qualities(self._pixels, decoded)
        return _Coded(payload, tensors, shown, cost, before is not None)

    def _price(self, payload: bytes, rounding: Rounding) -> float:
        """lambda R, in squared levels of 8-bit samples; 0 without lambda."""
        if rounding.lambda_ is None:
            return 0.0
        return rounding.lambda_ * 8 * len(payload) / self._grid.pixels


def best_colour(pixels: U8) -> tuple[U8, float]:
    """The best single colour, uint8 [channels], and the mean squared error of having it.

    pixels: uint8 [frames, height, width, channels].
    """
    levels, colour, squares = np.arange(256), [], 0
    for channel in range(pixels.shape[-1]):
        counts = np.zeros(256, np.int64)
        for frame in pixels:
            counts += np.bincount(frame[..., channel].ravel(), minlength=256)
        colour.append(round(int(counts @ levels) / int(counts.sum())))
        squares += int(counts @ np.square(levels - colour[-1]))
    return np.array(colour, np.uint8), squares / pixels.size


def _qualities(pixels: U8, decoded: U8) -> tuple[float, ...]:
    return tuple(psnr(a, b) for a, b in zip(pixels, decoded, strict=True))
