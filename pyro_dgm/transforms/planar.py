"""Planar layers, invertible in both directions."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

from pyro_dgm.eager import is_eager
from pyro_dgm.transforms.bijection import Bijection
from pyro_dgm.transforms.root import increasing_root

__all__ = ["PlanarTransform"]


class PlanarTransform(Bijection):
    r"""A stack of layers that each bend space along one direction, across a family of parallel planes.

    .. math:: f_k(x) = x + \hat u_k \tanh(w_k \cdot x + b_k), \qquad
        \log|\det| = \log\left(h^2 + m_k (1 - h^2)\right), \quad h = \tanh(w_k \cdot x + b_k)

    A layer is bijective if and only if :math:`w \cdot \hat u > -1`. The free :math:`u` is moved along
    :math:`w` until that holds, :math:`w \cdot \hat u = m - 1` with :math:`m = \mathrm{softplus}(w \cdot u)`;
    the log-determinant is written in :math:`m`, which stays exact where :math:`m - 1` rounds to
    :math:`-1`. The parameters of all layers are stacked: the constraint is imposed, and the
    log-determinants are taken, for all layers at once.

    The forward direction is closed form. The inverse reduces to one scalar equation a layer,
    :math:`s + (m - 1) \tanh(s + b) = w \cdot y`, which is increasing in :math:`s` with its root within
    :math:`|m - 1|` of the right side; it is solved to rounding and differentiated implicitly.

    Args:
        u: Free directions, of shape ``(K, *batch, D)`` for ``K`` layers, the first nearest to the base.
        w: Normals of the planes, of the same shape.
        b: Offsets, of shape ``(K, *batch)``.

    Shape:
        ``x`` and ``y``: ``(*sample, *batch, D)``. Log-determinant: ``(*sample, *batch)``, in nats.

    Reference:
        Rezende and Mohamed, Variational Inference with Normalizing Flows, ICML 2015, section 4.1 and
        appendix A. https://arxiv.org/abs/1505.05770

    Example:
        >>> t = PlanarTransform(torch.randn(3, 2), torch.randn(3, 2), torch.randn(3))
        >>> y, ladj = t.call_and_ladj(torch.randn(5, 2))
        >>> y.shape, ladj.shape
        (torch.Size([5, 2]), torch.Size([5]))
    """

    def __init__(self, u: Tensor, w: Tensor, b: Tensor) -> None:
        super().__init__()
        dot = (u * w).sum(-1)
        self.m = softplus(dot)
        square = w.square().sum(-1)
        # w = 0 makes the layer a translation, for which any u will do: 0 / 0 must not reach the gradient.
        safe = torch.where(square > 0, square, torch.ones_like(square))
        self.u_hat = u + ((self.m - 1 - dot) / safe).unsqueeze(-1) * w
        self.w, self.b = w, b
        self.m = torch.where(square > 0, self.m, torch.ones_like(square))

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Apply the layers in order."""
        heights = []
        for u, w, b in zip(self.u_hat, self.w, self.b, strict=True):
            x, h = _bend(x, u, w, b)
            heights.append(h)
        return x, self._ladj(torch.stack(heights))

    def _call(self, x: Tensor) -> Tensor:
        """Apply the layers; without a graph, on the heights alone."""
        if torch.is_grad_enabled() or x.dim() != 2 or self.w.dim() != 2 or not (len(x) and is_eager(x)):
            return super()._call(x)
        # All bends lie along fixed directions, so that the argument of each tanh is one fixed part of x and
        # multiples of the heights before it.
        arguments = torch.addmm(self.b.unsqueeze(1), self.w, x.T)
        onwards = torch.mm(self.w, self.u_hat.T).tril_(-1).unbind(0)
        heights = torch.zeros_like(arguments)
        before = heights.T
        for argument, factors, height in zip(arguments.unbind(0), onwards, heights.unbind(0), strict=True):
            torch.tanh(argument.addmv_(before, factors), out=height)
        return torch.addmm(x, before, self.u_hat)

    def inverse_and_ladj(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Undo the layers from the last to the first, each by one scalar root."""
        heights = []
        for k in reversed(range(len(self.u_hat))):
            c, b = self.m[k] - 1, self.b[k]
            right = (y * self.w[k]).sum(-1)
            h = torch.tanh(_root(right, c, b) + b)
            y = y - self.u_hat[k] * h.unsqueeze(-1)
            heights.append(h)
        return y, -self._ladj(torch.stack(heights[::-1]))

    def _ladj(self, heights: Tensor) -> Tensor:
        squares = heights.square()
        m = self.m.reshape(len(self.m), *(1,) * (heights.dim() - self.m.dim()), *self.m.shape[1:])
        return torch.log(squares + m * (1 - squares)).sum(0)


def _bend(x: Tensor, u: Tensor, w: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    if x.dim() == 2 and w.dim() == 1 and len(x):  # one layer in three operations
        h = torch.tanh(torch.addmv(b, x, w))
        return torch.addr(x, h, u), h
    h = torch.tanh((x * w).sum(-1) + b)
    return x + u * h.unsqueeze(-1), h


def _root(right: Tensor, c: Tensor, b: Tensor) -> Tensor:
    def function(s: Tensor) -> tuple[Tensor, Tensor]:
        h = torch.tanh(s + b)
        return s + c * h - right, 1 + c * (1 - h.square())

    reach = c.abs().expand_as(right)
    return increasing_root(function, right - reach, right + reach)
