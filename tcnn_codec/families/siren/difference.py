"""A network as a change of the one before: fitted from it, and kept near to it weight by weight.

The difference of a weight is worth coding only where it lowers the error by enough, so it is drawn
towards 0 while the network is fitted (soft thresholding, as in Candès, Wakin, Boyd, arXiv
0711.1612), and most of it stays exactly there.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tcnn_codec.coders.quantised import QuantisedTensor
from tcnn_codec.dtypes import F32
from tcnn_codec.families.contract import Tensors
from tcnn_codec.families.siren.backends.base import Backend
from tcnn_codec.families.siren.fit import code_learning, width_factor
from tcnn_codec.families.siren.quantise import dequantise
from tcnn_codec.families.siren.rounding import round_gradually
from tcnn_codec.families.siren.spec import SirenSpec
from tcnn_codec.training.batches import batch_size
from tcnn_codec.training.job import Job
from tcnn_codec.training.learning_rates import learning_rates
from tcnn_codec.training.loop import StepReport, psnr_of_loss, train
from tcnn_codec.training.optimiser import OptimiserState

#: PSNR in dB of the network before on the new chunk, below which one from random weights is better.
LEAST_START = 14.0
#: The schedule's peak, at width 32.
LEARNING_RATE = 2e-3
#: How far the difference is drawn towards 0 every EVERY steps, in units of their learning rates.
THRESHOLD, EVERY = 0.06, 10


def differ(
    backend: Backend,
    job: Job[SirenSpec],
    before: Sequence[QuantisedTensor],
    steps: int,
    rounding_steps: int,
    report: StepReport | None = None,
) -> Tensors | None:
    """The network of a chunk with the quantisation steps of the one before, and near to it.

    before: that of the chunk before, whose spec is the job's but for the frames. steps: of training
    before rounding. Codes begin anew. None where the network before shows the chunk so badly that a
    difference is worth nothing. Raises CodecError where the fit diverges.
    """
    spec = job.spec
    start = start_from(spec, before)
    sample = None if job.order is None else job.order[: batch_size(job.grid.pixels)]
    if psnr_of_loss(backend.loss_and_grad(job, start, sample)[0]) < LEAST_START:
        return None
    layers = slice(0, spec.layer_parameters)
    rates = learning_rates(steps, LEARNING_RATE * width_factor(spec))
    sums = np.concatenate([[0], np.cumsum(rates, dtype=np.float64)])

    def draw(done: int, state: OptimiserState) -> None:
        threshold = THRESHOLD * (sums[done] - sums[max(0, done - EVERY)])
        change = state.params[layers] - start[layers]
        kept = np.maximum(np.abs(change) - np.float32(threshold), 0)
        state.params[layers] = start[layers] + np.copysign(kept, change)

    trainer = backend.trainer(job, OptimiserState.start(start), code_learning(job, steps))
    rng = np.random.Generator(np.random.PCG64([job.seed, 5]))
    params = train(trainer, job, rates, rng, part=EVERY, before_part=draw, report=report)
    params[spec.layer_parameters :] = np.rint(params[spec.layer_parameters :])
    steps_of = [*before[: len(spec.layer_tensors)]]
    if spec.time_codes:
        steps_of.append(
            QuantisedTensor(params[spec.layer_parameters :].astype(np.int32), before[-1].step)
        )
    found = round_gradually(backend, job, params, steps_of, max(1, rounding_steps), report)
    return tuple(
        QuantisedTensor(new.values, old.step) for new, old in zip(found, steps_of, strict=True)
    )


def start_from(spec: SirenSpec, before: Sequence[QuantisedTensor]) -> F32:
    """The parameters of the network before, and codes of 0."""
    old = spec.of(before[-1].values.size // spec.time_codes) if spec.time_codes else spec
    params = np.zeros(spec.parameter_count, np.float32)
    params[: spec.layer_parameters] = dequantise(old, before)[: spec.layer_parameters]
    return params
