"""From the real line to pixels in the unit interval."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.nn.functional import logsigmoid

from pyro_dgm.transforms.bijection import Bijection
from pyro_dgm.transforms.squeeze import IMAGE

__all__ = ["Logit"]


class Logit(Bijection):
    r"""Carries an image of real numbers into the unit interval; its inverse is a logit of shrunken pixels.

    .. math:: x = \mathrm{logit}(\alpha + (1 - 2 \alpha) y), \qquad
              \log\left|\frac{dy}{dx}\right| = \log\sigma(x) + \log\sigma(-x) - \log(1 - 2 \alpha)

    With :math:`\alpha > 0` the logit of every pixel in [0, 1] is finite; the range is then a little wider
    than the unit interval, by :math:`\alpha / (1 - 2 \alpha)` on each side. With :math:`\alpha = 0` it is the
    unit interval itself, and pixels are kept from 0 and 1 by half a unit in the last place.

    Args:
        alpha: The margin :math:`\alpha`, in [0, 1/2).

    Shape:
        ``x`` and ``y``: ``(*batch, C, H, W)``. Log-determinant: ``(*batch,)``, in nats.

    Reference:
        Dinh, Sohl-Dickstein and Bengio, Density estimation using Real NVP, ICLR 2017, section 4.1, with the
        margin on both sides. https://arxiv.org/abs/1605.08803

    Example:
        >>> Logit(alpha=0.05).inv(torch.tensor([[[0.0, 0.5, 1.0]]]))
        tensor([[[-2.9444,  0.0000,  2.9444]]])
    """

    domain = IMAGE

    def __init__(self, alpha: float = 0.05) -> None:
        super().__init__()
        if not 0 <= alpha < 0.5:
            raise ValueError(f"Logit needs 0 <= alpha < 0.5, but got {alpha=}.")
        self.alpha = alpha
        self._room = 1 - 2 * alpha

    @property
    def codomain(self) -> Any:  # type: ignore[override]
        """The unit interval with its margins, for each entry."""
        margin = self.alpha / self._room
        interval = constraints.interval(-margin, 1 + margin)
        return constraints.independent(interval, 3)

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Squash."""
        return (torch.sigmoid(x) - self.alpha) / self._room, self._log_slopes(x)

    def inverse_and_ladj(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Shrink, and take the logit."""
        p = self.alpha + self._room * y
        if self.alpha == 0:
            info = torch.finfo(p.dtype)
            p = torch.where((p >= 0) & (p <= 1), p.clamp(info.tiny, 1 - info.eps / 2), torch.nan)
        x = p.log() - torch.log1p(-p)
        return x, -self._log_slopes(x)

    def _log_slopes(self, x: Tensor) -> Tensor:
        log_slope = logsigmoid(x) + logsigmoid(-x) - math.log(self._room)
        return log_slope.flatten(-3).sum(-1)
