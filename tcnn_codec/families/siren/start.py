"""Where a fit begins: the parameters before its first step."""

from __future__ import annotations

import numpy as np

from tcnn_codec.dtypes import F32
from tcnn_codec.families.siren.spec import SirenSpec


def initialise(spec: SirenSpec, seed: int) -> F32:
    """Fresh parameters, float32 [parameter_count]; SIREN initialisation (arXiv 2006.09661 §3.2).

    Input weights U(±1/in), later weights U(±sqrt(6/in)/w0), biases U(±1/sqrt(in)), codes 0.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    params = np.empty(spec.parameter_count, np.float32)
    tensors = spec.tensors
    for layer, (_, columns) in enumerate(spec.layer_shapes):
        weight, bias = tensors[2 * layer], tensors[2 * layer + 1]
        bound = 1 / columns if layer == 0 else np.sqrt(6 / columns) / spec.w0
        params[weight.place] = rng.uniform(-bound, bound, weight.size)
        params[bias.place] = rng.uniform(-(columns**-0.5), columns**-0.5, bias.size)
    params[spec.layer_parameters :] = 0
    return params
