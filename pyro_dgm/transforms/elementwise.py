"""Increasing functions of one variable, applied to each entry with parameters of its own."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from pyro_dgm.arguments import finite_number, positive_number
from pyro_dgm.transforms.affine_by_hand import AffineByHand, AffineInverseByHand
from pyro_dgm.transforms.by_hand import ByHand
from pyro_dgm.transforms.gated_by_hand import GatedByHand

__all__ = ["Additive", "Affine", "Elementwise", "Gated"]


class Elementwise:
    """A family of increasing functions of one variable, with ``num_parameters`` numbers for each entry."""

    num_parameters: int

    def call(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Apply the functions.

        Args:
            x: Values of any shape.
            parameters: One function for each value, of shape ``(num_parameters, *x.shape)``.

        Returns:
            The images and the logarithms of the slopes, each of the shape of ``x``.
        """
        raise NotImplementedError

    def inverse(self, y: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Undo :meth:`call`; the logarithms are those of the inverse's slopes."""
        raise NotImplementedError

    def identity(self) -> Tensor:
        """Parameters ``(num_parameters,)`` that make the function the identity; zeros for most."""
        return torch.zeros(self.num_parameters)

    def by_hand(self, *, back: bool) -> ByHand | None:
        """One direction with its derivatives written out, or None: then torch derives the formula."""
        return None


class Additive(Elementwise):
    """Shifts: ``y = x + t``. The slope is one.

    Reference:
        Dinh, Krueger and Bengio, NICE, ICLR 2015 workshop. https://arxiv.org/abs/1410.8516
    """

    num_parameters = 1

    def call(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Shift."""
        return x + parameters[0], torch.zeros_like(x)

    def inverse(self, y: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Shift back."""
        return y - parameters[0], torch.zeros_like(y)


class Affine(Elementwise):
    r"""Scales and shifts: :math:`y = x e^s + t` with a bounded log-scale :math:`s`.

    .. math:: s = c \tanh(r / c + b) - o, \qquad c = \frac{u + d}{2}, \quad o = \frac{d - u}{2}, \quad
              b = \operatorname{artanh}(o / c)

    It lies between :math:`-d` and :math:`u`, and is zero at a raw value :math:`r` of zero. A stack of layers
    multiplies what they stretch: with a small :math:`u` no stack can run away.

    Args:
        max_log_scale: The bound :math:`d`, in nats: no layer shrinks by more than :math:`e^{-d}`.
        max_stretch: The bound :math:`u`: none stretches by more than :math:`e^u`. As large as the other by
            default.

    Raises:
        DataError: If a bound is not positive and finite.
    """

    num_parameters = 2

    def __init__(self, max_log_scale: float = 3.0, *, max_stretch: float | None = None) -> None:
        self.max_log_scale = positive_number("max_log_scale", max_log_scale)
        stretch = max_log_scale if max_stretch is None else max_stretch
        self.max_stretch = positive_number("max_stretch", stretch)
        self._half_range = (self.max_log_scale + self.max_stretch) / 2
        self._offset = (self.max_log_scale - self.max_stretch) / 2
        self._lean = math.atanh(self._offset / self._half_range) if self._offset else 0.0

    def call(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Scale, then shift."""
        log_scale = self._log_scale(parameters[1])
        return torch.addcmul(parameters[0], x, log_scale.exp()), log_scale

    def inverse(self, y: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Shift back, then scale back."""
        log_scale = -self._log_scale(parameters[1])
        return (y - parameters[0]) * log_scale.exp(), log_scale

    def _log_scale(self, raw: Tensor) -> Tensor:
        return torch.tanh(raw / self._half_range + self._lean) * self._half_range - self._offset

    def by_hand(self, *, back: bool) -> ByHand | None:
        """Both directions."""
        if type(self) is not Affine:
            return None
        return _affine_by_hand(self._half_range, self._lean, self._offset, back)


@lru_cache(maxsize=256)
def _affine_by_hand(half_range: float, lean: float, offset: float, back: bool) -> ByHand:
    return (AffineInverseByHand if back else AffineByHand)(half_range, lean, offset)


class Gated(Elementwise):
    r"""Mixes the value with one: :math:`y = \sigma x + (1 - \sigma) m`, :math:`\sigma = 1 / (1 + e^{-s})`.

    It only shrinks, which keeps long stacks stable. The logit is bounded, :math:`s = c \tanh(r / c)`, so that
    the inverse stretches by :math:`1 + e^c` at most.

    Args:
        initial_gate: Initial :math:`r`; between 1 and 2 a fresh layer is near the identity.
        max_logit: The bound :math:`c`.

    Raises:
        DataError: If the initial gate is not finite, or the bound not positive and finite.

    Reference:
        Kingma et al., Improving Variational Inference with Inverse Autoregressive Flow, NeurIPS 2016,
        equations 13 and 14. https://arxiv.org/abs/1606.04934
    """

    num_parameters = 2

    def __init__(self, initial_gate: float = 1.5, *, max_logit: float = 6.0) -> None:
        self.initial_gate = finite_number("initial_gate", initial_gate)
        self.max_logit = positive_number("max_logit", max_logit)

    def call(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Mix."""
        m, s = self._value_and_logit(parameters)
        return torch.lerp(m, x, torch.sigmoid(s)), logsigmoid(s)

    def inverse(self, y: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Take the mixture apart."""
        m, s = self._value_and_logit(parameters)
        # (y - (1 - sigma) m) / sigma, with 1 / sigma - 1 = exp(-s)
        return y + (y - m) * torch.exp(-s), -logsigmoid(s)

    def _value_and_logit(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        m, raw = parameters.unbind(0)
        return m, self.max_logit * torch.tanh(raw / self.max_logit)

    def by_hand(self, *, back: bool) -> ByHand | None:
        """The mixture, not its inverse."""
        return None if back or type(self) is not Gated else GatedByHand(self.max_logit)

    def identity(self) -> Tensor:
        """A new value of zero and the initial gate."""
        return torch.tensor([0.0, self.initial_gate])
