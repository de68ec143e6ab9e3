"""The gradient and Laplacian of a potential of two layers, and a backward pass through both."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pyro_dgm.nets.log_cosh import log_cosh
from pyro_dgm.nets.potential import OTPotential, norm_forms, norm_roots

__all__ = ["PotentialLayers"]

Sweep = Sequence[Tensor]


class PotentialLayers:
    r"""The velocity :math:`-\nabla_x \Phi` of an :class:`~pyro_dgm.nets.OTPotential` of depth 2.

    .. math::
        \nabla \Phi(s) = K_0^\top (t_0 \circ z) + Q s + b, \qquad z = w + V^\top t_1, \qquad
        t_i = \tanh(a_i), \qquad a_0 = K_0 s + b_0, \qquad a_1 = K_1 \sigma(a_0) + b_1

        \Delta_x \Phi(s) = k^\top (e_0 \circ z) + \kappa + w^\top (e_1 \circ n), \qquad e_i = 1 - t_i^2

    with the squared norms n of the rows of :math:`K_1 \operatorname{diag}(t_0) K_0`, restricted to x.

    Args:
        weights: ``K_0, b_0, K_1, b_1, w, b, Q, V, k, M, kappa``, with the matrix M of the linear map from
            :math:`t_0` to that product, or for ``wide`` from :math:`t_0` to the rows of
            :math:`K_1 \operatorname{diag}(t_0) K_0 K_0^\top \operatorname{diag}(K_1)`.
        size: Size of x.
        wide: Whether M is the second.
    """

    def __init__(self, weights: Sequence[Tensor], size: int, wide: bool) -> None:
        self.weights, self.size, self.wide = tuple(weights), size, wide
        k0, _, k1, _, _, b, *_ = self.weights
        self._k0, self._k1 = k0.t(), k1.t()
        # Products with a narrow matrix are slow the other way round.
        self._outward = self._k0.contiguous().t()
        column = torch.arange(len(b), device=b.device)
        self._moves, self._drift = -(column < size).to(b), (column == size).to(b)

    @classmethod
    def of(cls, potential: OTPotential) -> PotentialLayers:
        """Return those of a potential, which gradients reach."""
        first, (second,), size = potential.first, potential.layers, potential.input_dim
        inner, columns = first.weight[:, :size], potential.A[:, :size]
        wide = size > len(inner)
        matrix = norm_forms(inner @ inner.t(), second.weight) if wide else norm_roots(inner, second.weight)
        weights = (first.weight, first.bias, second.weight, second.bias, potential.w, potential.b)
        products = (potential.A.t() @ potential.A, potential.w.unsqueeze(1) * second.weight)
        of_trace = (inner.square().sum(1), matrix, columns.square().sum())
        return cls((*weights, *products, *of_trace), size, wide)

    def with_weights(self, weights: Sequence[Tensor]) -> PotentialLayers:
        """Return the same with other weights."""
        return PotentialLayers(weights, self.size, self.wide)

    def __call__(self, s: Tensor) -> Sweep:
        """Return ds/dt, s, the gradient, both tanh and z."""
        return self._evaluate(s)[:6]

    def _evaluate(self, s: Tensor) -> Sweep:
        _, b0, _, b1, w, b, quadratic, outer, *_ = self.weights
        u, t0 = log_cosh(torch.addmm(b0, s, self._k0))
        t1 = 2 * torch.sigmoid(2 * torch.addmm(b1, u, self._k1)) - 1
        z = torch.addmm(w, t1, outer)
        gradient = torch.addmm(b, s, quadratic) + (t0 * z) @ self._outward
        return torch.addcmul(self._drift, self._moves, gradient), s, gradient, t0, t1, z, u

    def record(self, sweep: Sweep) -> Tensor:
        """Return the gradient."""
        return sweep[2]

    def of_record(self, record: Tensor) -> Sweep:
        """Return ds/dt, a place for s, and the gradient."""
        return torch.addcmul(self._drift, self._moves, record), record, record

    def trace(self, sweep: Sweep) -> Tensor:
        """Return minus the Laplacian, ``(rows,)``."""
        t0, t1, z = sweep[3:6]
        return self._trace(t0, z, 1 - t0.square(), 1 - t1.square(), self._norms(t0)[1])

    def _trace(self, t0: Tensor, z: Tensor, e0: Tensor, e1: Tensor, norms: Tensor) -> Tensor:
        w, k, constant = self.weights[4], self.weights[8], self.weights[10]
        return -(torch.mv(e0 * z, k) + torch.mv(e1 * norms, w) + constant)

    def _norms(self, t0: Tensor) -> tuple[Tensor, Tensor]:
        """Return what M gives, and the squared norms."""
        product = (t0 @ self.weights[9]).view(len(t0), -1, t0.shape[1])
        if self.wide:
            return product, torch.bmm(product, t0.unsqueeze(2)).squeeze(2)
        return product, product.square().sum(1)

    def keep(self, s: Tensor) -> tuple[Sweep, Tensor, Sequence[Tensor]]:
        """Return an evaluation, its divergence, and what :meth:`pull` needs."""
        sweep = self._evaluate(s)
        *_, t0, t1, z, u = sweep
        e0, e1 = torch.addcmul(_one(t0), t0, t0, value=-1), torch.addcmul(_one(t1), t1, t1, value=-1)
        product, norms = self._norms(t0)
        return sweep, self._trace(t0, z, e0, e1, norms), (s, t0, t1, z, u, e0, e1, product, norms)

    def pull(
        self,
        kept: Sequence[Tensor],
        of_velocity: Tensor,
        of_record: Tensor | None,
        of_trace: Tensor,
        gradients: list[Tensor],
    ) -> Tensor:
        """Return the cotangent of s, and add those of the turned weights to ``gradients``."""
        s, t0, t1, z, u, e0, e1, product, norms = kept
        _, _, k1, _, w, _, quadratic, outer, k, matrix, _ = self.weights
        of_gradient = self._moves * of_velocity
        if of_record is not None:
            of_gradient = of_gradient + of_record
        share = -of_trace.unsqueeze(1)
        backwards, bent, normed = of_gradient @ self._k0, share * k, share * norms
        of_z = torch.addcmul(backwards * t0, bent, e0)
        of_a1 = torch.addcmul(of_z @ outer.t(), normed * w, t1, value=-2) * e1
        direct, of_product = self._of_norms(share * e1 * w, t0, product)
        of_t0 = torch.addmm(direct, of_product, matrix.t())
        of_t0 = torch.addcmul(of_t0, torch.addcmul(backwards, bent, t0, value=-2), z)
        of_a0 = torch.addcmul((of_a1 @ k1) * t0, of_t0, e0)
        products = [(0, s, of_a0), (0, of_gradient, t0 * z), (2, u, of_a1), (6, of_gradient, s)]
        for i, left, right in (*products, (7, of_z, t1), (9, of_product, t0)):
            gradients[i] = torch.addmm(gradients[i], left.t(), right)
        of_w, of_k = torch.addcmul(of_z, normed, e1), share * e0 * z
        for i, rows in ((1, of_a0), (3, of_a1), (4, of_w), (5, of_gradient), (8, of_k)):
            gradients[i] = gradients[i] + rows.sum(0)
        gradients[10] = gradients[10] + share.sum()
        return torch.addmm(of_gradient @ quadratic.t(), of_a0, self._outward)

    def _of_norms(self, of_norms: Tensor, t0: Tensor, product: Tensor) -> tuple[Tensor, Tensor]:
        """The cotangents of t_0, as far as it does not come by M, and of what M gives."""
        if self.wide:
            direct = torch.bmm(of_norms.unsqueeze(1), product).squeeze(1)
            return direct, (of_norms.unsqueeze(2) * t0.unsqueeze(1)).view(len(t0), -1)
        return torch.zeros_like(t0), (2 * product * of_norms.unsqueeze(1)).view(len(t0), -1)


def _one(like: Tensor) -> Tensor:
    return like.new_ones(())
