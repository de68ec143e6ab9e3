"""Sylvester layers, invertible in both directions."""

from __future__ import annotations

import torch
from torch import Tensor

from pyro_dgm.transforms.bijection import Bijection
from pyro_dgm.transforms.root import increasing_root

__all__ = ["SylvesterTransform"]


class SylvesterTransform(Bijection):
    r"""A stack of layers that each bend space along ``M`` directions at once.

    .. math:: f(x) = x + Q R \tanh(\tilde R Q^T x + b), \qquad
        \log|\det| = \sum_{i=1}^M \log(1 + (1 - h_i^2) \, r_{ii} \tilde r_{ii}), \quad
        h = \tanh(\tilde R Q^T x + b)

    The columns of ``Q`` are orthonormal, a product of Householder reflections; both matrices are upper
    triangular. A layer is bijective if :math:`r_{ii} \tilde r_{ii} > -1` for all ``i``.

    The forward direction is closed form. The inverse, in the coordinates :math:`v = Q^T x`, is triangular:
    :math:`v_i + r_{ii} \tanh(\tilde r_{ii} v_i + k_i) = t_i` with constants that hold later coordinates
    alone. From the last to the first these are ``M`` scalar equations, each increasing, with its root within
    :math:`|r_{ii}|` of the right side; they are solved to rounding and differentiated implicitly.

    Args:
        reflections: Normals of the Householder mirrors, of shape ``(K, *batch, H, D)`` for ``K`` layers.
        upper: The matrices :math:`R`, of shape ``(K, *batch, M, M)``, upper triangular.
        upper_tilde: The matrices :math:`\tilde R`, of the same shape.
        b: Offsets, of shape ``(K, *batch, M)``.

    Shape:
        ``x`` and ``y``: ``(*sample, *batch, D)``. Log-determinant: ``(*sample, *batch)``, in nats.

    Reference:
        Van den Berg, Hasenclever, Tomczak and Welling, Sylvester Normalizing Flows for Variational Inference,
        UAI 2018. https://arxiv.org/abs/1803.05649
    """

    def __init__(self, reflections: Tensor, upper: Tensor, upper_tilde: Tensor, b: Tensor) -> None:
        super().__init__()
        self.q = _orthonormal(reflections, b.shape[-1])
        self.r, self.r_tilde, self.b = upper, upper_tilde, b
        self.product = upper.diagonal(dim1=-2, dim2=-1) * upper_tilde.diagonal(dim1=-2, dim2=-1)

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Apply the layers in order."""
        total = x.new_zeros(())
        for q, r, r_tilde, b, product in zip(self.q, self.r, self.r_tilde, self.b, self.product, strict=True):
            h = torch.tanh(_times(r_tilde, _times(q.mT, x)) + b)
            x = x + _times(q, _times(r, h))
            total = total + torch.log1p((1 - h.square()) * product).sum(-1)
        return x, total

    def inverse_and_ladj(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Undo the layers from the last to the first, each by ``M`` scalar roots."""
        total = y.new_zeros(())
        for k in reversed(range(len(self.q))):
            h = self._solved(k, _times(self.q[k].mT, y))
            y = y - _times(self.q[k], _times(self.r[k], h))
            total = total - torch.log1p((1 - h.square()) * self.product[k]).sum(-1)
        return y, total

    def _solved(self, k: int, w: Tensor) -> Tensor:
        r, r_tilde, b = self.r[k], self.r_tilde[k], self.b[k]
        w = w.expand(torch.broadcast_shapes(w.shape, b.shape))
        v, h = w[..., :0], w[..., :0]  # of the coordinates after i
        for i in reversed(range(w.shape[-1])):
            offset = b[..., i] + (r_tilde[..., i, i + 1 :] * v).sum(-1)
            right = w[..., i] - (r[..., i, i + 1 :] * h).sum(-1)
            s = _root(right, r[..., i, i], r_tilde[..., i, i], offset)
            v = torch.cat((s.unsqueeze(-1), v), -1)
            h = torch.cat((torch.tanh(r_tilde[..., i, i] * s + offset).unsqueeze(-1), h), -1)
        return h


def _root(right: Tensor, r: Tensor, r_tilde: Tensor, offset: Tensor) -> Tensor:
    def function(s: Tensor) -> tuple[Tensor, Tensor]:
        h = torch.tanh(r_tilde * s + offset)
        return s + r * h - right, 1 + r * r_tilde * (1 - h.square())

    reach = r.abs().expand_as(right)
    return increasing_root(function, right - reach, right + reach)


def _times(matrix: Tensor, vector: Tensor) -> Tensor:
    return (matrix @ vector.unsqueeze(-1)).squeeze(-1)


def _orthonormal(reflections: Tensor, columns: int) -> Tensor:
    """The first columns of the product of the reflections, of shape ``(*batch, D, M)``."""
    size = reflections.shape[-1]
    q = torch.eye(size, dtype=reflections.dtype, device=reflections.device)[:, :columns]
    unit = reflections / torch.linalg.vector_norm(reflections, dim=-1, keepdim=True).clamp(min=1e-12)
    for normal in unit.unbind(-2):
        q = q - 2 * normal.unsqueeze(-1) * (normal.unsqueeze(-2) @ q)
    return q
