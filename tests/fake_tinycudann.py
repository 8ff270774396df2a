"""What TinycudannBackend asks of tinycudann, in PyTorch on the CPU.

The same layout, padding and interface as its Network of CutlassMLP with sine. With `half` what it
keeps and gives is float16 as there, gradients are multiplied by loss_scale on their way in and
divided by it on their way out, and sums alone are better than there, in float32. Without, all is
float32, so that only the layout is at stake.
"""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import torch

ALIGNMENT, GRANULARITY = 16, 256


def padded(count: int, multiple: int) -> int:
    return -(-count // multiple) * multiple


class Rounded(torch.autograd.Function):
    """To float16 and back, values and gradients; the latter are multiplied by factor there."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, factor: float) -> torch.Tensor:
        ctx.factor = factor
        return x.half().float()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return (gradient.half() * ctx.factor).float(), None


class Sine(torch.autograd.Function):
    """jit: the fault of JIT fusion, which takes the derivative at the sine."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, jit: bool) -> torch.Tensor:
        y = torch.sin(x)
        ctx.save_for_backward(y if jit else x)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        (at,) = ctx.saved_tensors
        return gradient * torch.cos(at), None


class Network(torch.nn.Module):
    half, always_jit = False, False

    def __init__(self, n_input_dims: int, n_output_dims: int, config: dict[str, Any]) -> None:
        super().__init__()
        assert (config["otype"], config["activation"]) == ("CutlassMLP", "Sine")
        assert config["output_activation"] == "None"
        self.n_input_dims, self.n_output_dims = n_input_dims, n_output_dims
        sides = [padded(n_input_dims, ALIGNMENT)]
        sides += config["n_hidden_layers"] * [config["n_neurons"]]
        sides += [padded(n_output_dims, ALIGNMENT)]
        self.shapes = [(m, n) for n, m in pairwise(sides)]
        self.params = torch.nn.Parameter(torch.rand(sum(m * n for m, n in self.shapes)))
        self.loss_scale = 128.0
        self.jit_fusion = False
        self.kept: list[torch.Tensor] = []  # activations of the last call

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert x.dtype == torch.float32
        assert x.shape[1] == self.n_input_dims
        count = len(x)

        def rounded(values: torch.Tensor, factor: float = 1) -> torch.Tensor:
            return Rounded.apply(values, factor) if self.half else values

        x = torch.nn.functional.pad(x, (0, 0, 0, padded(count, GRANULARITY) - count))
        ones = self.shapes[0][1] - self.n_input_dims
        x = rounded(torch.nn.functional.pad(x, (0, ones), value=1))
        weights = rounded(self.params, 1 / self.loss_scale).split([m * n for m, n in self.shapes])
        self.kept = []
        for weight, shape in zip(weights[:-1], self.shapes[:-1], strict=True):
            phase = rounded(x @ weight.reshape(shape).T)
            x = rounded(Sine.apply(phase, self.jit_fusion or self.always_jit))
            self.kept.append(x)
        out = rounded(x @ weights[-1].reshape(self.shapes[-1]).T, self.loss_scale)
        return (out.half() if self.half else out)[:count, : self.n_output_dims]


def fake(*, half: bool = False, always_jit: bool = False) -> SimpleNamespace:
    """A module; its networks are of a class of their own."""
    kind = type("Network", (Network,), {"half": half, "always_jit": always_jit})
    return SimpleNamespace(Network=kind)
