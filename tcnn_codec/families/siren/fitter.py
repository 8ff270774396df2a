"""The SIREN as the encoder knows it: which sizes there are, and how one is fitted and rounded."""

from __future__ import annotations

import math
from dataclasses import replace

from tcnn_codec.dtypes import F32, U8
from tcnn_codec.families.contract import Ladder, Rounding, Tensors
from tcnn_codec.families.siren import backends
from tcnn_codec.families.siren.difference import differ
from tcnn_codec.families.siren.family import SirenFamily
from tcnn_codec.families.siren.fit import fit
from tcnn_codec.families.siren.options import SirenOptions
from tcnn_codec.families.siren.quantise import (
    canonical,
    constant,
    dequantise,
    fold,
    least_multipliers,
    quantise,
)
from tcnn_codec.families.siren.renderer import SirenRenderer
from tcnn_codec.families.siren.rounding import balance_steps, deviation_from, round_gradually
from tcnn_codec.families.siren.sizes import choose_ladder, choose_spec, effort
from tcnn_codec.families.siren.spec import SirenSpec
from tcnn_codec.families.siren.start import initialise
from tcnn_codec.grid import Grid
from tcnn_codec.picture import PictureFormat
from tcnn_codec.training.batches import batch_size
from tcnn_codec.training.job import Job
from tcnn_codec.training.loop import StepReport

#: What rounding a network costs after training has made up for it, of what it costs at once; on
#: Kodak images at 6 bit.
REMAINING_COST = 0.35
#: Chunks are long whose pixels rounding sees fewer times.
LONG = 4


class SirenFitter:
    """A contract.Fitter. backend, precision, threads: as `backends.create` takes them."""

    family = SirenFamily()
    differs = True

    def __init__(
        self,
        options: SirenOptions | None = None,
        backend: str = "auto",
        precision: str = "auto",
        threads: int = 0,
    ) -> None:
        self._options = options or SirenOptions()
        self._backend = backends.create(backend, threads, precision)
        if self._options.time_codes is None and not self._backend.has_codes:
            self._options = replace(self._options, time_codes=0)
        self._threads = threads

    @property
    def backend(self) -> str:
        return self._backend.name

    @property
    def device(self) -> str:
        return self._backend.device

    @property
    def precision(self) -> str:
        return self._backend.precision

    def renderer(self) -> SirenRenderer:
        return SirenRenderer(self._threads)

    def spec(self, picture: PictureFormat) -> SirenSpec:
        return choose_spec(picture, self._options)

    def ladder(self, picture: PictureFormat) -> Ladder[SirenSpec]:
        return choose_ladder(picture, self._options)

    def effort(self, spec: SirenSpec, grid: Grid) -> float:
        return effort(spec, grid)

    def start(self, spec: SirenSpec, seed: int) -> F32:
        return initialise(spec, seed)

    def fit(self, job: Job[SirenSpec], start: F32, steps: int, report: StepReport | None) -> F32:
        return fit(self._backend, job, start, steps, report)

    def constant(self, spec: SirenSpec, colour: U8) -> tuple[F32, Tensors]:
        tensors = constant(spec, colour)
        return dequantise(spec, tensors), tensors

    def render(self, spec: SirenSpec, params: F32, grid: Grid) -> U8:
        return self._backend.render(spec, params, grid)

    def round_at_once(
        self, spec: SirenSpec, params: F32, grid: Grid, rounding: Rounding
    ) -> Tensors:
        params = fold(spec, params)
        return canonical(spec, self._choose_steps(spec, params, grid, rounding)[0])

    def round(
        self, job: Job[SirenSpec], params: F32, rounding: Rounding, report: StepReport | None
    ) -> list[Tensors]:
        """With the steps chosen, rounded part by part; and rounded at once, with those steps and
        with as many bits for every tensor, which sometimes decodes to something better."""
        spec, grid, steps = job.spec, job.grid, rounding.steps
        params = fold(spec, params)
        chosen, plain = self._choose_steps(spec, params, grid, rounding)
        found = [chosen] if chosen is plain else [chosen, plain]
        if steps:
            found.insert(0, round_gradually(self._backend, job, params, chosen, steps, report))
        if 0 < steps * batch_size(grid.pixels) < LONG * grid.pixels:
            # Decoding so long a chunk takes as long as much of its rounding, so that only what
            # deviates less than the first is worth it.
            deviation = deviation_from(self._backend, spec, params, grid)
            far = [deviation(dequantise(spec, tensors)) for tensors in found]
            found = [tensors for tensors, other in zip(found, far, strict=True) if other <= far[0]]
        return [canonical(spec, tensors) for tensors in found]

    def differ(
        self,
        job: Job[SirenSpec],
        before: Tensors,
        steps: int,
        rounding: int,
        report: StepReport | None,
    ) -> Tensors | None:
        return differ(self._backend, job, before, steps, rounding, report)

    def _choose_steps(
        self, spec: SirenSpec, params: F32, grid: Grid, rounding: Rounding
    ) -> tuple[Tensors, Tensors]:
        """params rounded at once with the quantisation steps to use, and with the same bits for
        every tensor; the same object where these are the ones to use."""
        plain = quantise(spec, params, rounding.bits)
        wanted = least_multipliers(spec, params, 2 ** (rounding.bits - 1) - 1)
        cost, price = None, None
        if (lambda_ := rounding.lambda_) is not None:
            # D grows by 2 ln(2) D a bit that a step loses, R falls by 1 / pixels a parameter.
            worth = REMAINING_COST * 127.5**2 * grid.pixels
            cost = lambda_ / (2 * math.log(2) * worth)
            price = lambda tensors: (  # noqa: E731
                lambda_ * 8 * len(self.family.encode(spec, canonical(spec, tensors))) / worth
            )
        balanced = balance_steps(self._backend, spec, params, grid, plain, wanted, cost, price)
        return (plain, plain) if balanced == plain else (balanced, plain)
