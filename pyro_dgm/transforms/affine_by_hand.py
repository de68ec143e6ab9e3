"""Scales and shifts, with their derivatives written out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from pyro_dgm.transforms.scalars import scalar

__all__ = ["AffineByHand", "AffineInverseByHand"]


class AffineByHand(NamedTuple):
    r"""The map :math:`y = x e^s + t` with :math:`s = c \tanh(r / c + b) - o`, of log-slope :math:`s`.

    With gradients :math:`g` of the image and :math:`\ell` of the log-slope,

    .. math:: \bar x = g e^s, \qquad \bar t = g, \qquad
              \bar r = (\ell + \bar x x) \left(1 - \tanh^2(r / c + b)\right)
    """

    half_range: float  # c
    lean: float = 0.0  # b
    offset: float = 0.0  # o

    def values(self, value: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Scale, then shift."""
        shift, raw = parameters.unbind(0)
        tanh = _tanh(raw.div_(scalar(self.half_range, raw)), self.lean)
        log_slope = _sum(tanh * scalar(self.half_range, raw), -self.offset)
        scale = log_slope.exp()
        return torch.addcmul(shift, value, scale), log_slope, [value, scale, tanh]

    def gradients(self, kept: Sequence[Tensor], image: Tensor, ladj: Tensor) -> tuple[Tensor, Tensor]:
        """Pull gradients back."""
        value, scale, tanh = kept
        to_value = image * scale
        to_raw = torch.ops.aten.tanh_backward(torch.addcmul(ladj, to_value, value), tanh)
        return to_value, torch.stack((image, to_raw))


class AffineInverseByHand(NamedTuple):
    r"""The map :math:`x = (y - t) e^{-s}` with :math:`s = c \tanh(r / c + b) - o`, of log-slope :math:`-s`.

    With gradients :math:`g` of the image and :math:`\ell` of the log-slope,

    .. math:: \bar y = g e^{-s}, \qquad \bar t = -\bar y, \qquad
              \bar r = -(\ell + g x) \left(1 - \tanh^2(r / c + b)\right)
    """

    half_range: float
    lean: float = 0.0
    offset: float = 0.0

    def values(self, value: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Shift back, then scale back."""
        shift, raw = parameters.unbind(0)
        tanh = _tanh(raw.div_(scalar(self.half_range, raw)), self.lean)
        log_slope = _sum(tanh * scalar(-self.half_range, raw), self.offset)
        scale = log_slope.exp()
        image = (value - shift).mul_(scale)
        return image, log_slope, [image, scale, tanh]

    def gradients(self, kept: Sequence[Tensor], image: Tensor, ladj: Tensor) -> tuple[Tensor, Tensor]:
        """Pull gradients back."""
        own, scale, tanh = kept
        to_value = image * scale
        to_raw = torch.ops.aten.tanh_backward(torch.addcmul(ladj, image, own), tanh)
        return to_value, torch.stack((to_value, to_raw)).neg_()


def _tanh(raw: Tensor, lean: float) -> Tensor:
    return _sum(raw, lean).tanh_()


def _sum(owned: Tensor, number: float) -> Tensor:
    return owned.add_(number) if number else owned  # most maps have no lean: it shall cost them nothing
