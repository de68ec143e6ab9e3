"""The affine coupling layer of RealNVP."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from pyro_dgm.arguments import positive_number
from pyro_dgm.transforms.bijection import Bijection

__all__ = ["AffineCoupling"]


class AffineCoupling(Bijection):
    r"""Scales and shifts one part of a vector by amounts that the other part decides.

    .. math:: y_a = x_a, \qquad y_b = x_b \odot \exp(s(x_a)) + t(x_a)

    The log-determinant is :math:`\sum_i s_i(x_a)` over the coordinates of the *changed* part alone. Both
    directions are closed form and cost one pass of the conditioner. The log-scale is bounded,
    :math:`s = c \tanh(r / c)` with the conditioner's raw output :math:`r`, so that no layer can stretch or
    shrink by more than :math:`e^{\pm c}`.

    Args:
        conditioner: Maps the kept part ``(*batch, D_a)`` to shifts and raw log-scales
            ``(*batch, 2 D_b)``, shifts first.
        split: Size of the left part, between 1 and ``D - 1``.
        change_left: Whether the left part is the one that is changed; the right one by default.
        max_log_scale: The bound :math:`c` of the log-scale, in nats.

    Shape:
        ``x`` and ``y``: ``(*batch, D)``. Log-determinant: ``(*batch,)``, in nats.

    Raises:
        DataError: If the bound is not positive and finite.

    Reference:
        Dinh, Sohl-Dickstein and Bengio, Density estimation using Real NVP, ICLR 2017, section 3.2.
        https://arxiv.org/abs/1605.08803

    Example:
        >>> t = AffineCoupling(torch.nn.Linear(1, 2), split=1)
        >>> x = torch.randn(5, 2)
        >>> y, ladj = t.call_and_ladj(x)
        >>> bool((y[:, 0] == x[:, 0]).all()), ladj.shape
        (True, torch.Size([5]))
    """

    def __init__(
        self,
        conditioner: Callable[[Tensor], Tensor],
        split: int,
        *,
        change_left: bool = False,
        max_log_scale: float = 3.0,
    ) -> None:
        super().__init__()
        self.conditioner, self.split = conditioner, split
        self.change_left, self.max_log_scale = change_left, positive_number("max_log_scale", max_log_scale)

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Scale, then shift, the changed part."""
        kept, changed = self._parts(x)
        shift, log_scale = self._shift_and_log_scale(kept)
        return self._join(kept, changed * log_scale.exp() + shift), log_scale.sum(-1)

    def inverse_and_ladj(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Shift back, then scale back."""
        kept, changed = self._parts(y)
        shift, log_scale = self._shift_and_log_scale(kept)
        return self._join(kept, (changed - shift) * (-log_scale).exp()), -log_scale.sum(-1)

    def _parts(self, value: Tensor) -> tuple[Tensor, Tensor]:
        left, right = value.tensor_split((self.split,), dim=-1)
        return (right, left) if self.change_left else (left, right)

    def _join(self, kept: Tensor, changed: Tensor) -> Tensor:
        if kept.shape[:-1] != changed.shape[:-1]:
            kept = kept.expand(*changed.shape[:-1], -1)  # the conditioner's context has a larger batch
        return torch.cat((changed, kept) if self.change_left else (kept, changed), dim=-1)

    def _shift_and_log_scale(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        shift, raw = self.conditioner(kept).chunk(2, dim=-1)
        return shift, self.max_log_scale * torch.tanh(raw / self.max_log_scale)
