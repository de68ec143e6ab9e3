"""Radial layers, closed form in both directions."""

from __future__ import annotations

import torch
from torch import Tensor

from pyro_dgm.transforms.bijection import Bijection

__all__ = ["RadialTransform"]


class RadialTransform(Bijection):
    r"""A stack of layers that each contract or expand space around a centre.

    .. math:: f_k(x) = x + \frac{\beta_k}{\alpha_k + r} (x - c_k), \qquad r = \lVert x - c_k \rVert_2

    With :math:`\alpha > 0` and :math:`\beta > -\alpha` a layer is bijective. Both directions are closed form:
    the radius of the image is :math:`r (1 + \beta / (\alpha + r))`, so that the preimage's radius solves
    :math:`r^2 + (\alpha + \beta - r_y) r - \alpha r_y = 0`, which has exactly one root :math:`r \ge 0`.

    Args:
        centre: Centres, of shape ``(K, *batch, D)`` for ``K`` layers, the first nearest to the base.
        alpha: Positive widths, of shape ``(K, *batch)``.
        alpha_plus_beta: The positive sums :math:`\alpha + \beta`, of shape ``(K, *batch)``. The sum is the
            argument, since :math:`\beta` alone rounds away close to :math:`-\alpha`.

    Shape:
        ``x`` and ``y``: ``(*sample, *batch, D)``. Log-determinant: ``(*sample, *batch)``, in nats.

    Reference:
        Rezende and Mohamed, Variational Inference with Normalizing Flows, ICML 2015, section 4.1.
        https://arxiv.org/abs/1505.05770

    Example:
        >>> t = RadialTransform(torch.zeros(1, 2), torch.ones(1), 2 * torch.ones(1))
        >>> y, ladj = t.call_and_ladj(torch.randn(5, 2))
        >>> y.shape, ladj.shape
        (torch.Size([5, 2]), torch.Size([5]))
    """

    def __init__(self, centre: Tensor, alpha: Tensor, alpha_plus_beta: Tensor) -> None:
        super().__init__()
        self.centre, self.alpha, self.sum = centre, alpha, alpha_plus_beta

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Apply the layers in order."""
        radii = []
        for centre, alpha, total in zip(self.centre, self.alpha, self.sum, strict=True):
            offset = x - centre
            r = _norm(offset)
            x = centre + offset * ((total + r) / (alpha + r)).unsqueeze(-1)
            radii.append(r)
        return x, self._ladj(torch.stack(radii), x.shape[-1])

    def inverse_and_ladj(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Undo the layers from the last to the first."""
        radii = []
        for k in reversed(range(len(self.centre))):
            centre, alpha, total = self.centre[k], self.alpha[k], self.sum[k]
            offset = y - centre
            r_y = _norm(offset)
            r = _preimage_radius(r_y, alpha, total)
            y = centre + offset * ((alpha + r) / (total + r)).unsqueeze(-1)
            radii.append(r)
        return y, -self._ladj(torch.stack(radii[::-1]), y.shape[-1])

    def _ladj(self, radii: Tensor, event_size: int) -> Tensor:
        shape = (len(self.alpha), *(1,) * (radii.dim() - self.alpha.dim()), *self.alpha.shape[1:])
        alpha, total = self.alpha.reshape(shape), self.sum.reshape(shape)
        # One eigenvalue along the radius, D - 1 equal ones across it.
        across = torch.log(total + radii) - torch.log(alpha + radii)
        # 1 + alpha beta / (alpha + r)^2 over the common denominator, in sums of positive terms only.
        along = torch.log(alpha * total + radii * (2 * alpha + radii)) - 2 * torch.log(alpha + radii)
        return (along + (event_size - 1) * across).sum(0)


def _norm(offset: Tensor) -> Tensor:
    # The norm has no derivative at the centre itself; zero is the right limit for a map that is smooth there.
    square = offset.square().sum(-1)
    return torch.where(square > 0, square, 1).sqrt() * (square > 0)


def _preimage_radius(r_y: Tensor, alpha: Tensor, total: Tensor) -> Tensor:
    b = total - r_y
    root = torch.sqrt(b.square() + 4 * alpha * r_y)
    # Both forms are the same number; each avoids the cancellation of the other.
    return torch.where(b > 0, 2 * alpha * r_y / (b + root), (root - b) / 2)
