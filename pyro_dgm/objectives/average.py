"""A running average of a generator's weights."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from pyro_dgm.objectives.holding import tensors_of

__all__ = ["WeightAverage"]


class WeightAverage:
    r"""Holds a copy of a model whose weights are an exponential moving average of the model's.

    .. math:: \bar\theta_t = \beta_t \bar\theta_{t-1} + (1 - \beta_t) \theta_t, \qquad
        \beta_t = \min\bigl(\beta, \tfrac{1 + t}{10 + t}\bigr)

    Players of a game circle around the equilibrium; the average sits closer to it. The early ramp of
    :math:`\beta_t` forgets the initial weights. Buffers such as running statistics are averaged alike, and
    integers copied.

    Args:
        model: The model to follow.
        decay: The rate beta, in [0, 1).

    Attributes:
        model: The averaged copy, in evaluation mode and without gradients; sample from this one.
        steps: Number of updates so far.

    Reference:
        Yazici et al., The Unusual Effectiveness of Averaging in GAN Training, ICLR 2019.
        https://arxiv.org/abs/1806.04498

    Example:
        >>> average = WeightAverage(nn.Linear(2, 1), decay=0.99)
        >>> average.update(nn.Linear(2, 1))
        >>> average.steps
        1
    """

    def __init__(self, model: nn.Module, decay: float = 0.999) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"the decay of a weight average must be in [0, 1), but is {decay}.")
        self.decay, self.steps = decay, 0
        self.model = copy.deepcopy(model).requires_grad_(False).eval()

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the average towards the weights of ``model``."""
        weight = 1 - min(self.decay, (1 + self.steps) / (10 + self.steps))
        pairs = list(zip(_tensors(self.model), _tensors(model), strict=True))
        floats = [(a, b) for a, b in pairs if a.is_floating_point()]
        torch._foreach_lerp_([a for a, _ in floats], [b for _, b in floats], weight)
        for a, b in pairs:
            if not a.is_floating_point():
                a.copy_(b)
        self.steps += 1


def _tensors(module: nn.Module) -> list[Tensor]:
    parameters, buffers = tensors_of(module)
    return [tensor.detach() for tensor in parameters + buffers]
