"""Mixtures of sigmoids, as functions of the line onto itself."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

from pyro_dgm.transforms.monotone import Monotone

__all__ = ["DeepSigmoidal"]


class DeepSigmoidal(Monotone):
    r"""The logit of a mixture of sigmoids, a universal family of increasing functions.

    .. math:: x = \epsilon y + (1 - \epsilon) \, \mathrm{logit} \sum_{j=1}^H w_j \,
              \mathrm{sigmoid}(a_j y + b_j), \qquad w_j \ge 0, \; \sum_j w_j = 1, \; a_j > \epsilon

    It is computed in logarithms, so that the tails, where it is linear, keep their digits. The linear share
    is not in the paper: between two steep sigmoids the logit is flat to rounding, and values there would not
    come back.

    Args:
        num_units: Number of sigmoids ``H``; ``3 H`` parameters.
        min_slope: Least slope :math:`\epsilon` of the function, and of each sigmoid.

    Reference:
        Huang, Krueger, Lacoste and Courville, Neural Autoregressive Flows, ICML 2018, section 3.1.
        https://arxiv.org/abs/1804.00779
    """

    def __init__(self, num_units: int = 8, *, min_slope: float = 1e-2) -> None:
        if num_units < 1 or not 0 < min_slope < 1:
            raise ValueError(
                f"DeepSigmoidal needs num_units >= 1 and 0 < min_slope < 1, but got {num_units=} and "
                f"{min_slope=}."
            )
        self.num_units, self.min_slope = num_units, min_slope
        self.num_parameters = 3 * num_units
        self.raw_slope_of_one = math.log(math.expm1(1 - min_slope))

    def inverse(self, y: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Evaluate the function."""
        raw_w, raw_a, b = parameters.split(self.num_units)
        log_w = torch.log_softmax(raw_w, 0)
        a = softplus(raw_a + self.raw_slope_of_one) + self.min_slope
        u = a * y + b
        log_s, log_rest = logsigmoid(u), logsigmoid(-u)
        below, above = log_w + log_s, log_w + log_rest
        log_sum, log_sum_of_rest = torch.logsumexp(below, 0), torch.logsumexp(above, 0)
        # The slope as a sum of positive terms: the difference of logarithms loses all digits far out.
        shares = torch.softmax(below, 0) * log_rest.exp() + torch.softmax(above, 0) * log_s.exp()
        slope = torch.lerp(torch.ones_like(y), (a * shares).sum(0), 1 - self.min_slope)
        return torch.lerp(y, log_sum - log_sum_of_rest, 1 - self.min_slope), slope.log()

    def identity(self) -> Tensor:
        """Equal weights and slopes, offsets apart from each other: near the identity.

        With equal offsets it would be the identity, and all units would stay alike.
        """
        parameters = torch.zeros(3, self.num_units)
        parameters[2] = torch.linspace(-1, 1, self.num_units) if self.num_units > 1 else 0.0
        return parameters.flatten()
