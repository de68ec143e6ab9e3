"""Increasing functions of one variable, applied to each entry with parameters of its own."""

from __future__ import annotations

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
    r"""Scales and shifts: :math:`y = x e^s + t` with a bounded log-scale :math:`s = c \tanh(r / c)`.

    Args:
        max_log_scale: The bound :math:`c`, in nats: no layer stretches or shrinks by more than
            :math:`e^{\pm c}`.

    Raises:
        DataError: If the bound is not positive and finite.
    """

    num_parameters = 2

    def __init__(self, max_log_scale: float = 3.0) -> None:
        self.max_log_scale = positive_number("max_log_scale", max_log_scale)

    def call(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Scale, then shift."""
        shift, raw = parameters.unbind(0)
        log_scale = torch.tanh(raw / self.max_log_scale) * self.max_log_scale
        return torch.addcmul(shift, x, log_scale.exp()), log_scale

    def inverse(self, y: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Shift back, then scale back."""
        shift, raw = parameters.unbind(0)
        log_scale = torch.tanh(raw / self.max_log_scale) * -self.max_log_scale
        return (y - shift) * log_scale.exp(), log_scale

    def by_hand(self, *, back: bool) -> ByHand | None:
        """Both directions."""
        if type(self) is not Affine:
            return None
        return (AffineInverseByHand if back else AffineByHand)(self.max_log_scale)


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
