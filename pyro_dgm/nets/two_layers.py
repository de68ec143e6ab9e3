"""A network of two hidden layers as a velocity, its divergence, and the derivatives of both by hand."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["TwoLayers"]

Sweep = Sequence[Tensor]


class TwoLayers:
    r"""A velocity, its divergence, and a backward pass through both.

    .. math::
        v(s) = W_3 u_2 + b_3, \qquad u_2 = \sigma(W_2 u_1 + b_2), \qquad u_1 = \sigma(W_1 s + b_1), \qquad
        \operatorname{tr} = d_1^\top M d_2

    with the sigmoid :math:`\sigma`, its slopes :math:`d_i = u_i (1 - u_i)`, and a matrix M that follows from
    the weights.

    Args:
        weights: ``W_1, b_1, W_2, b_2, W_3, b_3, M``.
    """

    def __init__(self, weights: Sequence[Tensor]) -> None:
        self.weights = tuple(weights)
        self._inner, _, self._middle, _, self._outer, _, self._joint = weights
        self._turned = [weight.t() for weight in (self._inner, self._middle, self._outer, self._joint)]
        # Products with a narrow matrix are slow the other way round.
        self._wide = self._turned[0].contiguous()

    def with_weights(self, weights: Sequence[Tensor]) -> TwoLayers:
        """Return the same network with other weights."""
        return TwoLayers(weights)

    def __call__(self, s: Tensor) -> Sweep:
        """Return the velocity, s and the hidden units."""
        _, b1, _, b2, _, b3, _ = self.weights
        u1 = torch.addmm(b1, s, self._turned[0]).sigmoid()
        u2 = torch.addmm(b2, u1, self._turned[1]).sigmoid()
        return torch.addmm(b3, u2, self._turned[2]), s, u1, u2

    def trace(self, sweep: Sweep) -> Tensor:
        """Return the divergence, ``(rows,)``."""
        d1, d2 = (torch.addcmul(u, u, u, value=-1) for u in sweep[2:])
        return ((d1 @ self._joint) * d2).sum(1)

    def record(self, sweep: Sweep) -> Tensor:
        """Return the velocity."""
        return sweep[0]

    def of_record(self, record: Tensor) -> Sweep:
        """Return the velocity."""
        return (record,)

    def keep(self, s: Tensor) -> tuple[Sweep, Tensor, Sequence[Tensor]]:
        """Return an evaluation, its divergence, and what :meth:`pull` needs."""
        sweep = self(s)
        _, _, u1, u2 = sweep
        d1, d2 = torch.addcmul(u1, u1, u1, value=-1), torch.addcmul(u2, u2, u2, value=-1)
        product = d1 @ self._joint
        return sweep, (product * d2).sum(1), (s, u1, u2, d1, d2, product)

    def pull(
        self,
        kept: Sequence[Tensor],
        of_velocity: Tensor,
        of_record: Tensor | None,
        of_trace: Tensor,
        gradients: list[Tensor],
    ) -> Tensor:
        """Return the cotangent of s, and add those of the turned weights to ``gradients``."""
        s, u1, u2, d1, d2, product = kept
        if of_record is not None:
            of_velocity = of_velocity + of_record
        of_trace = of_trace.unsqueeze(1)
        of_product, of_d2 = d2 * of_trace, product * of_trace
        # d = u - u^2, so that a cotangent of d is one of u times 1 - 2 u.
        of_a2 = torch.addmm(torch.addcmul(of_d2, of_d2, u2, value=-2), of_velocity, self._outer) * d2
        of_d1 = of_product @ self._turned[3]
        of_a1 = torch.addmm(torch.addcmul(of_d1, of_d1, u1, value=-2), of_a2, self._middle) * d1
        for i, (of_sum, given) in enumerate(((of_a1, s), (of_a2, u1), (of_velocity, u2))):
            gradients[2 * i] = torch.addmm(gradients[2 * i], given.t(), of_sum)
            gradients[2 * i + 1] = gradients[2 * i + 1] + of_sum.sum(0)
        gradients[6] = torch.addmm(gradients[6], of_product.t(), d1)
        return of_a1 @ self._wide.t()
