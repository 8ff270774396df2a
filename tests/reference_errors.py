"""How far a backend is from the reference in float64, over the seeds of a case.

Tolerances are derived: this error may be twice that of the float32 reference.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from cases import Case, loss_and_grad, relative, rms
from numpy.typing import NDArray

from tcnn_codec.families.siren.backends.base import Backend
from tcnn_codec.families.siren.backends.reference import ReferenceBackend

SEEDS = range(5)
EXACT = ReferenceBackend(torch.float64)
REFERENCE = ReferenceBackend()


def forward_error(backend: Backend, case: Case) -> float:
    return rms([relative(output(backend, case, s), output(EXACT, case, s)) for s in SEEDS])


def gradient_error(backend: Backend, case: Case) -> float:
    return rms([relative(gradient(backend, case, s), gradient(EXACT, case, s)) for s in SEEDS])


def compute_output(backend: Backend, case: Case, seed: int) -> NDArray[np.floating]:
    return backend.evaluate(case.spec, case.params(seed), case.grid)


def compute_gradient(backend: Backend, case: Case, seed: int) -> NDArray[np.floating]:
    params, target, indices = case.params(seed), case.target(seed), case.indices(seed)
    return loss_and_grad(backend, case.spec, params, case.grid, target, indices)[1]


def loss(backend: Backend, case: Case, seed: int) -> float:
    params, target, indices = case.params(seed), case.target(seed), case.indices(seed)
    return loss_and_grad(backend, case.spec, params, case.grid, target, indices)[0]


# The oracle's answers serve every instruction set.
output, gradient = cache(compute_output), cache(compute_gradient)
reference_forward_error = cache(lambda case: forward_error(REFERENCE, case))
reference_gradient_error = cache(lambda case: gradient_error(REFERENCE, case))
