"""Gated mixtures, with their derivatives written out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

__all__ = ["GatedByHand"]


class GatedByHand(NamedTuple):
    r"""The map :math:`y = \sigma x + (1 - \sigma) m` of log-slope :math:`\log\sigma`.

    The gate is :math:`\sigma = 1 / (1 + e^{-s})` with :math:`s = c \tanh(r / c)`. With gradients :math:`g` of
    the image and :math:`\ell` of the log-slope,

    .. math:: \bar x = g \sigma, \qquad \bar m = g - \bar x, \qquad
              \bar r = (1 - \sigma) \left(\ell + \bar x (x - m)\right) \left(1 - \tanh^2(r / c)\right)
    """

    max_logit: float

    def values(self, value: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Mix."""
        tanh = parameters[1].div_(self.max_logit).tanh_()
        logit = tanh * self.max_logit
        gate, log_slope = torch.sigmoid(logit), logsigmoid(logit)
        rise = value - parameters[0]
        return torch.addcmul(parameters[0], rise, gate), log_slope, [rise, gate, tanh]

    def gradients(self, kept: Sequence[Tensor], image: Tensor, ladj: Tensor) -> tuple[Tensor, Tensor]:
        """Pull gradients back."""
        rise, gate, tanh = kept
        to_value = image * gate
        to_logit = torch.addcmul(ladj, to_value, rise).mul_(1 - gate)
        to_raw = torch.ops.aten.tanh_backward(to_logit, tanh)
        return to_value, torch.stack((image - to_value, to_raw))
