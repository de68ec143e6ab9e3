"""The scalar potential of OT-Flow, with its gradient and Laplacian in closed form."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from pyro_dgm.nets.log_cosh import log_cosh

__all__ = ["OTPotential", "norm_forms", "norm_roots"]

Sweep = Sequence[Tensor]


class OTPotential(nn.Module):
    r"""A residual network plus a quadratic: the potential whose gradient drives an OT-Flow.

    .. math::
        \Phi(s) = w^\top N(s) + \tfrac12 s^\top A^\top A s + b^\top s, \qquad s = (x, t, \text{context}),

        u_0 = \sigma(K_0 s + b_0), \quad u_i = u_{i-1} + h \sigma(K_i u_{i-1} + b_i), \quad N(s) = u_{L-1},

    with :math:`\sigma(a) = \log(2 \cosh a)`, :math:`h = 1 / (L - 1)` and ``depth`` :math:`L`. The additive
    constant of the paper changes neither paths nor densities and is left out. Gradient and Laplacian are
    closed form: the gradient is one backward sweep through the layers, and the Laplacian reuses every
    intermediate of that sweep, at a cost of :math:`O(m^2 \min(D, m))` a row.

    Args:
        input_dim: Size ``D`` of x.
        context_dim: Size ``C`` of a conditioning vector at the end of s; zero for none.
        width: Width ``m`` of the layers.
        depth: Number of layers, at least 2.
        rank: Rows of ``A``; by default 10, or the size of s if that is smaller.

    Shape:
        ``s``: ``(*batch, S)`` with ``S = D + 1 + C``. Value and trace ``(*batch,)``, gradient
        ``(*batch, S)``.

    Reference:
        Onken, Wu Fung, Li and Ruthotto, OT-Flow: Fast and Accurate Continuous Normalizing Flows via Optimal
        Transport, AAAI 2021, section 3 and appendix B. https://arxiv.org/abs/2006.00104

    Example:
        >>> potential = OTPotential(2)
        >>> gradient, laplacian = potential.gradient_and_trace(torch.randn(5, 3))
        >>> gradient.shape, laplacian.shape
        (torch.Size([5, 3]), torch.Size([5]))
    """

    def __init__(
        self,
        input_dim: int,
        context_dim: int = 0,
        *,
        width: int = 32,
        depth: int = 2,
        rank: int | None = None,
    ) -> None:
        super().__init__()
        if depth < 2 or width < 1:
            raise ValueError(f"OTPotential needs depth >= 2 and width >= 1, but got {depth=} and {width=}.")
        size = input_dim + 1 + context_dim
        self.input_dim, self.context_dim, self.step = input_dim, context_dim, 1 / (depth - 1)
        self.trace_size = width * min(input_dim, width)  # numbers of a row that the trace works on at once
        self.first = nn.Linear(size, width)
        layers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth - 1))
        self.layers: Sequence[nn.Linear] = layers  # type: ignore[assignment]
        # A start near the identity. The paper's, w = 1 and A ten times as large, is a strong flow to a wrong
        # place: on two moons it needs three times as many steps to reach the same loss.
        self.w = nn.Parameter(torch.full((width,), 0.1))
        rows = min(10, size) if rank is None else rank
        self.A = nn.Parameter(0.1 * nn.init.xavier_uniform_(torch.empty(rows, size)))
        self.b = nn.Parameter(torch.zeros(size))

    def value(self, s: Tensor) -> Tensor:
        """Return the potential itself."""
        u, _ = log_cosh(self.first(s))
        for layer in self.layers:
            u = u + self.step * log_cosh(layer(u))[0]
        value: Tensor = u @ self.w + 0.5 * (s @ self.A.t()).square().sum(-1) + s @ self.b
        return value

    def gradient(self, s: Tensor) -> Tensor:
        """Return the gradient with respect to all of ``s``."""
        return self.prepare()(s.reshape(-1, s.shape[-1]))[0].reshape(s.shape)

    def gradient_and_trace(self, s: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradient with respect to ``s`` and the Laplacian with respect to x."""
        sweep = self.prepare()(s.reshape(-1, s.shape[-1]))
        return sweep[0].reshape(s.shape), self.trace(sweep[1:]).reshape(s.shape[:-1])

    def prepare(self) -> Callable[[Tensor], Sweep]:
        """Compute what depends on the weights alone, and return the evaluation that uses it.

        The evaluation maps rows ``s`` of shape ``(rows, S)`` to a tuple of tensors: the gradient, and
        after it whatever :meth:`trace` needs. Prepare once for all the evaluations of a solve.
        """
        first, last = self.first.weight, self.layers[-1].weight
        outward = first.t().contiguous()  # a product with a narrow matrix is twice as fast this way round
        weighted = self.step * self.w.unsqueeze(1) * last
        return partial(self._sweep, outward, self.A.t() @ self.A, weighted)

    def _sweep(self, outward: Tensor, quadratic: Tensor, weighted: Tensor, s: Tensor) -> Sweep:
        u, tanh = log_cosh(linear(s, self.first.weight, self.first.bias))
        tanhs = [tanh]
        for layer in self.layers[:-1]:
            rise, tanh = log_cosh(linear(u, layer.weight, layer.bias))
            u = torch.add(u, rise, alpha=self.step)
            tanhs.append(tanh)
        last = self.layers[-1]
        tanhs.append(2 * torch.sigmoid(2 * linear(u, last.weight, last.bias)) - 1)
        # z_i, the derivative of w^T N by u_{i-1}, from the last layer (weighted: h diag(w) K) to the first.
        z = torch.addmm(self.w, tanhs[-1], weighted)
        slopes = [z]
        for layer, tanh in zip(reversed(self.layers[:-1]), reversed(tanhs[1:-1]), strict=True):
            z = torch.addmm(z, tanh * z, layer.weight, alpha=self.step)
            slopes.append(z)
        gradient = torch.addmm(self.b, s, quadratic) + linear(tanhs[0] * z, outward)
        return gradient, *tanhs, *reversed(slopes)

    def trace(self, sweep: Sweep) -> Tensor:
        """Return the Laplacian with respect to x, ``(rows,)``, from what is left after the gradient."""
        count = len(self.layers) + 1
        tanhs, slopes = sweep[:count], (*sweep[count:], self.w)
        inner = self.first.weight[:, : self.input_dim]
        bends = [1 - tanh.square() for tanh in tanhs]
        total = (
            torch.mv(bends[0] * slopes[0], inner.square().sum(1)) + self.A[:, : self.input_dim].square().sum()
        )
        squares = self._squares_narrow if self.input_dim <= len(inner) else self._squares_wide
        for bend, z, square in zip(bends[1:], slopes[1:], squares(inner, tanhs), strict=True):
            total = total + self.step * (bend * square * z).sum(1)
        return total

    def _squares_narrow(self, inner: Tensor, tanhs: Sweep) -> Iterator[Tensor]:
        """Yield, layer by layer, the squared norms of the rows of K_i J_{i-1}, ``(rows, m)``."""
        width, size = inner.shape
        first = self.layers[0].weight
        # K_1 J_0 is linear in tanh_0: one product for all rows and columns, without forming J_0.
        product = (tanhs[0] @ norm_roots(inner, first)).view(-1, size, width)
        yield product.square().sum(1)
        jacobian = tanhs[0].unsqueeze(1) * inner.t() if len(tanhs) > 2 else product
        for layer, tanh in zip(self.layers[1:], tanhs[1:-1], strict=True):
            jacobian = torch.add(jacobian, tanh.unsqueeze(1) * product, alpha=self.step)
            product = jacobian @ layer.weight.t()
            yield product.square().sum(1)

    def _squares_wide(self, inner: Tensor, tanhs: Sweep) -> Iterator[Tensor]:
        """Yield the same for x wider than the layers, at a cost that does not grow with its size."""
        # J_{i-1} = R_{i-1} K_0 is never formed: the Gram matrix of K_0 is enough for norms.
        gram, width = inner @ inner.t(), len(inner)
        first = self.layers[0].weight
        yield ((tanhs[0] @ norm_forms(gram, first)).view(-1, width, width) * tanhs[0].unsqueeze(1)).sum(2)
        if len(tanhs) > 2:
            response, product = tanhs[0].diag_embed(), tanhs[0].unsqueeze(1) * first
        for layer, tanh in zip(self.layers[1:], tanhs[1:-1], strict=True):
            response = torch.add(response, tanh.unsqueeze(2) * product, alpha=self.step)
            product = layer.weight @ response
            yield ((product @ gram) * product).sum(2)


def norm_roots(inner: Tensor, first: Tensor) -> Tensor:
    """Return the matrix of the linear map from tanh_0 to K_1 J_0."""
    return (inner.unsqueeze(2) * first.t().unsqueeze(1)).flatten(1)


def norm_forms(gram: Tensor, first: Tensor) -> Tensor:
    """Return the quadratic forms in tanh_0 that are the squared norms of the rows of K_1 J_0."""
    return (first.unsqueeze(2) * gram * first.unsqueeze(1)).transpose(0, 1).flatten(1)
