"""The standard logistic base of NICE."""

from __future__ import annotations

import math

import torch
from torch import Size, Tensor
from torch.nn.functional import logsigmoid

from pyro_dgm.distributions.standard_base import StandardBase

__all__ = ["StandardLogistic"]


class StandardLogistic(StandardBase):
    r"""Independent standard logistic entries, :math:`\log p(h) = -\log(1 + e^h) - \log(1 + e^{-h})` each.

    Args:
        like: A tensor of the event shape, ``(D,)`` for vectors, that gives size, dtype and device; its values
            are not used.
        batch_shape: Shape of the batch of independent copies.
        validate_args: Whether values are checked; by default as Pyro's global setting says.

    Shape:
        ``log_prob``: from ``(*sample, *batch, *event)`` to ``(*sample, *batch)``, in nats.

    Reference:
        Dinh, Krueger and Bengio, NICE, ICLR 2015 workshop, section 3.4. https://arxiv.org/abs/1410.8516

    Example:
        >>> StandardLogistic(torch.zeros(1)).log_prob(torch.zeros(1))  # log(1 / 4)
        tensor(-1.3863)
    """

    variance_of_one = math.pi**2 / 3

    def draw(self, shape: Size) -> Tensor:
        """Draw standard logistic entries, as differences of two logarithms of exponentials."""
        one, other = torch.empty(2, *shape, dtype=self._like.dtype, device=self._like.device).exponential_()
        difference: Tensor = one.log() - other.log()
        return difference

    def log_density(self, value: Tensor) -> Tensor:
        """The log-density of events, in nats."""
        return self.total(logsigmoid(value) + logsigmoid(-value))
