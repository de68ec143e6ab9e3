"""A perceptron as the velocity of a continuous flow, with its divergence in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from pyro_dgm.nets.two_layers import TwoLayers
from pyro_dgm.nets.velocity import Evaluate, Sweep, Velocity

__all__ = ["MLPVelocity"]


class MLPVelocity(Velocity):
    r"""A tanh network of point, time and context.

    .. math::
        v(s) = W_L u_{L-1} + b_L, \qquad u_i = \tanh(W_i u_{i-1} + b_i), \qquad u_0 = s = (x, t, c).

    Its divergence needs neither automatic differentiation nor a probe: with the slopes
    :math:`d_i = 1 - u_i^2` and :math:`V_1` the part of :math:`W_1` that acts on x, two hidden layers have

    .. math:: \operatorname{tr} \nabla_x v = d_2^\top \left( W_2 \circ (V_1 W_3)^\top \right) d_1,

    one product more whatever the dimension, and one hidden layer a weighted sum of :math:`d_1`. More hidden
    layers push :math:`\min(D, m)` columns forward. A fresh network is zero: the flow begins as the identity.

    Args:
        input_dim: Size ``D`` of x.
        context_dim: Size ``C`` of the context; zero for none.
        hidden_dims: Widths of the hidden layers, at least one.
        end_time: The time at the data.

    Shape:
        ``x`` of shape ``(*batch, D)``; velocity likewise.

    Example:
        >>> MLPVelocity(3, hidden_dims=(16,))(0.5, torch.randn(5, 3)).shape
        torch.Size([5, 3])
    """

    def __init__(
        self,
        input_dim: int,
        context_dim: int = 0,
        *,
        hidden_dims: Sequence[int] = (64, 64),
        end_time: float = 1.0,
    ) -> None:
        super().__init__(input_dim, context_dim, end_time=end_time)
        if not hidden_dims or min(hidden_dims) < 1:
            raise ValueError(f"MLPVelocity needs at least one hidden layer, but got {hidden_dims=}.")
        sizes = [input_dim + 1 + context_dim, *hidden_dims, input_dim]
        layers = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(sizes))
        self.layers: Sequence[nn.Linear] = layers  # type: ignore[assignment]
        nn.init.zeros_(self.layers[-1].weight)
        nn.init.zeros_(self.layers[-1].bias)
        narrow = min(input_dim, hidden_dims[-1])
        self.trace_size = max(hidden_dims) * (narrow if len(hidden_dims) > 2 else 1)

    def prepare(self) -> Evaluate:
        """Return the evaluation, which leaves ds/dt, s and the hidden units in (0, 1)."""
        # tanh a = 2 sigmoid(2 a) - 1, whose factors go into the weights: in float32 on a CPU a sigmoid takes
        # a fraction of the time of a tanh, and the hidden layers cost two operations each.
        first, *others = self.layers
        weights, biases = [2 * first.weight], [2 * first.bias]
        for layer in others[:-1]:
            weights.append(4 * layer.weight)
            biases.append(2 * (layer.bias - layer.weight.sum(1)))
        last, extra = others[-1], 1 + self.context_dim
        # Rows for time and context, which move at the speeds 1 and 0.
        weights.append(torch.cat([2 * last.weight, last.weight.new_zeros(extra, last.in_features)]))
        drift = last.bias.new_zeros(extra)
        drift[0] = 1
        biases.append(torch.cat([last.bias - last.weight.sum(1), drift]))
        if len(self.layers) != 3:
            return partial(_evaluate, [weight.t() for weight in weights], biases)
        joint = weights[1].t() * (weights[0][:, : self.input_dim] @ weights[2][: self.input_dim])
        return TwoLayers([p for pair in zip(weights, biases, strict=True) for p in pair] + [joint])

    def trace(self, sweep: Sweep) -> Tensor:
        """Return the divergence of dx/dt, ``(rows,)``, from what an evaluation left."""
        inner, last = self._inner, self.layers[-1].weight
        slopes = [torch.addcmul(u, u, u, value=-1) for u in sweep[2:]]  # a quarter of 1 - tanh^2
        if len(slopes) == 1:
            return torch.mv(slopes[0], 4 * (inner * last.t()).sum(1))
        if len(slopes) == 2:
            joint = 16 * self.layers[1].weight.t() * (inner @ last)
            return ((slopes[0] @ joint) * slopes[1]).sum(1)
        return self._deep_trace(slopes)

    def _deep_trace(self, slopes: list[Tensor]) -> Tensor:
        inner, (_, second, *middle, last) = self._inner, [layer.weight for layer in self.layers]
        narrow = self.input_dim <= len(middle[-1])
        columns = inner if narrow else inner @ last  # (m_1, k)
        joint = 4 * (columns.unsqueeze(2) * second.t().unsqueeze(1)).flatten(1)
        pushed = (slopes[0] @ joint).view(-1, columns.shape[1], len(second))
        for weight, slope in zip(middle, slopes[1:-1], strict=True):
            pushed = (4 * slope.unsqueeze(1) * pushed) @ weight.t()
        if narrow:
            return 4 * ((pushed * last).sum(1) * slopes[-1]).sum(1)
        return 4 * (pushed.diagonal(dim1=1, dim2=2) * slopes[-1]).sum(1)

    def pull(self, sweep: Sweep, cotangent: Tensor) -> Tensor:
        """Return the transposed Jacobian of dx/dt times a vector for each row, ``(rows, D)``."""
        for layer, u in zip(reversed(self.layers[1:]), reversed(sweep[2:]), strict=True):
            cotangent = (cotangent @ layer.weight) * (4 * u * (1 - u))
        return cotangent @ self._inner

    def square_jacobian(self, sweep: Sweep) -> Tensor:
        """Return the squared Frobenius norm of the Jacobian of dx/dt, ``(rows,)``."""
        jacobian = self.layers[-1].weight
        for layer, u in zip(reversed(self.layers[:-1]), reversed(sweep[2:]), strict=True):
            weight = self._inner if layer is self.layers[0] else layer.weight
            jacobian = (jacobian * (4 * u * (1 - u)).unsqueeze(1)) @ weight
        return jacobian.square().sum((1, 2))

    @property
    def _inner(self) -> Tensor:
        """The part of the first weight that acts on x."""
        return self.layers[0].weight[:, : self.input_dim]


def _evaluate(weights: list[Tensor], biases: list[Tensor], s: Tensor) -> Sweep:
    units, u = [], s
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        u = torch.addmm(bias, u, weight).sigmoid()
        units.append(u)
    return torch.addmm(biases[-1], u, weights[-1]), s, *units
