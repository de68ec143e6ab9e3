"""OT-Flow's algorithm as published, for comparison: rows in, one step at a time, all integrals in the state.

The formulas and their order are those of the paper and its appendix: hidden layers evaluated again in the
backward sweep, the Jacobian of every layer formed for each row with the batch in the last dimension, the
trace and both costs computed in each of the four stages, in sampling too.

Onken, Wu Fung, Li and Ruthotto, OT-Flow: Fast and Accurate Continuous Normalizing Flows via Optimal
Transport, AAAI 2021. https://arxiv.org/abs/2006.00104
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["PublishedOTFlow"]


class PublishedOTFlow(nn.Module):
    """The potential with ``depth`` layers of ``width``, and its solves with ``nt`` steps.

    Args:
        dim: Size of the data vectors.
        width: Width of the layers.
        depth: Number of layers.
    """

    def __init__(self, dim: int, width: int = 32, depth: int = 2) -> None:
        super().__init__()
        self.dim, self.width, self.h = dim, width, 1 / (depth - 1)
        self.layers = nn.ModuleList([nn.Linear(dim + 1, width)])
        self.layers.extend(nn.Linear(width, width) for _ in range(depth - 1))
        self.w = nn.Linear(width, 1, bias=False)
        self.c = nn.Linear(dim + 1, 1)
        self.A = nn.Parameter(nn.init.xavier_uniform_(torch.empty(min(10, dim + 1), dim + 1)))
        nn.init.ones_(self.w.weight)
        nn.init.zeros_(self.c.weight)

    def copy_weights(self, potential: nn.Module) -> PublishedOTFlow:
        """Take the weights of our potential."""
        ours = [potential.first, *potential.layers]
        with torch.no_grad():
            for mine, theirs in zip(self.layers, ours, strict=True):
                mine.weight.copy_(theirs.weight)
                mine.bias.copy_(theirs.bias)
            self.w.weight.copy_(potential.w)
            self.A.copy_(potential.A)
            self.c.weight.copy_(potential.b)
        return self

    def gradient_and_trace(self, s: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradient by s and the Laplacian by x."""
        n, d, m = len(s), self.dim, self.width
        opening = self.layers[0](s)
        u = [_act(opening)]
        for layer in self.layers[1:]:
            u.append(u[-1] + self.h * _act(layer(u[-1])))
        tanh_open = torch.tanh(opening)
        count = len(self.layers)
        z: list[Tensor | None] = [None] * count
        for i in range(count - 1, 0, -1):
            term = self.w.weight.t() if i == count - 1 else z[i + 1]
            layer = self.layers[i]
            z[i] = term + self.h * torch.mm(layer.weight.t(), torch.tanh(layer(u[i - 1])).t() * term)
        symmetric = self.A.t() @ self.A
        first = torch.mm(self.layers[0].weight.t(), tanh_open.t() * z[1])
        gradient = first + torch.mm(symmetric, s.t()) + self.c.weight.t()
        inner = self.layers[0].weight[:, :d]
        bend = (1 - torch.tanh(opening.t()) ** 2) * z[1]
        trace = torch.sum(bend.reshape(m, -1, n) * inner.unsqueeze(2) ** 2, dim=(0, 1))
        jacobian = inner.unsqueeze(2) * tanh_open.t().unsqueeze(1)
        for i in range(1, count):
            product = torch.mm(self.layers[i].weight, jacobian.reshape(m, -1)).reshape(m, -1, n)
            term = self.w.weight.t() if i == count - 1 else z[i + 1]
            a = self.layers[i](u[i - 1]).t()
            bend = (1 - torch.tanh(a) ** 2) * term
            trace = trace + self.h * torch.sum(bend.reshape(m, -1, n) * product**2, dim=(0, 1))
            jacobian = jacobian + self.h * torch.tanh(a).reshape(m, -1, n) * product
        return gradient.t(), trace + torch.trace(symmetric[:d, :d])

    def rates(self, state: Tensor, t: float) -> Tensor:
        """Return the derivative of (x, l, v, r)."""
        d = self.dim
        s = nn.functional.pad(state[:, :d], (0, 1), value=t)
        gradient, trace = self.gradient_and_trace(s)
        dx = -gradient[:, :d]
        dv = 0.5 * torch.sum(dx**2, 1, keepdim=True)
        dr = torch.abs(-gradient[:, -1:] + dv)
        return torch.cat((dx, -trace.unsqueeze(1), dv, dr), 1)

    def solve(self, x: Tensor, start: float, end: float, nt: int) -> Tensor:
        """Integrate (x, l, v, r) from ``start`` to ``end``."""
        h = (end - start) / nt
        z = nn.functional.pad(x, (0, 3))
        for i in range(nt):
            t, z0 = start + i * h, z
            k = h * self.rates(z0, t)
            z = z0 + k / 6
            k = h * self.rates(z0 + 0.5 * k, t + h / 2)
            z = z + k / 3
            k = h * self.rates(z0 + 0.5 * k, t + h / 2)
            z = z + k / 3
            z = z + h * self.rates(z0 + k, t + h) / 6
        return z

    def loss(self, x: Tensor, nt: int, transport: float, hjb: float) -> Tensor:
        """Return the negative log-likelihood plus the weighted costs, mean over rows."""
        z = self.solve(x, 0.0, 1.0, nt)
        latent, (ladj, cost, residual) = z[:, : self.dim], z[:, self.dim :].unbind(1)
        nll = 0.5 * latent.square().sum(1) + 0.5 * self.dim * math.log(2 * math.pi) - ladj
        return (nll + transport * cost + hjb * residual).mean()

    def sample(self, n: int, nt: int) -> Tensor:
        """Draw ``n`` rows with the same solve backwards."""
        with torch.no_grad():
            return self.solve(torch.randn(n, self.dim), 1.0, 0.0, nt)[:, : self.dim]


def _act(x: Tensor) -> Tensor:
    return torch.abs(x) + torch.log(1 + torch.exp(-2.0 * torch.abs(x)))
