"""The velocity of a continuous flow: a network of point, time and context, with what a density asks of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

__all__ = ["ModuleVelocity", "Velocity"]

Sweep = Sequence[Tensor]
Evaluate = Callable[[Tensor], Sweep]


class Velocity(nn.Module):
    r"""Base of the velocities :math:`v(x, t, c)` that drive continuous flows.

    A subclass defines :meth:`prepare`; whatever it leaves to this class is done by automatic
    differentiation: the exact trace, at the cost of D backward passes, and products with the Jacobian. Rows
    are :math:`s = (x, t, c)`, so that time and context are columns like any other.

    Args:
        input_dim: Size ``D`` of x.
        context_dim: Size ``C`` of a conditioning vector; zero for none.
        end_time: The time T at the data; that at the base is zero.
    """

    trace_size: int = 1

    def __init__(self, input_dim: int, context_dim: int = 0, *, end_time: float = 1.0) -> None:
        super().__init__()
        if not end_time > 0:
            raise ValueError(f"{type(self).__name__} needs end_time > 0, but got {end_time}.")
        self.input_dim, self.context_dim = input_dim, context_dim
        self.base_time, self.data_time = 0.0, float(end_time)

    def forward(self, t: Tensor | float, x: Tensor, context: Tensor | None = None) -> Tensor:
        r"""Return :math:`dx/dt` at time ``t``, which is 0 at the base and T at the data.

        Shape:
            ``x``: ``(*batch, D)``; ``t``: a number, or a tensor ``(*batch,)``; ``context``: ``(*batch, C)``.
            Batch shapes broadcast. Returns ``(*batch, D)``.
        """
        direction = 1.0 if self.data_time > self.base_time else -1.0
        time = (self.base_time + direction * torch.as_tensor(t).to(x)).unsqueeze(-1)
        columns = [x, time] if context is None else [x, time, context]
        batch = torch.broadcast_shapes(*(column.shape[:-1] for column in columns))
        s = torch.cat([column.expand(*batch, -1) for column in columns], dim=-1)
        rates = self.prepare()(s.reshape(-1, s.shape[-1]))[0]
        return direction * rates[:, : self.input_dim].reshape(*batch, self.input_dim)

    def prepare(self) -> Evaluate:
        """Compute what depends on the weights alone, and return the evaluation that uses it.

        The evaluation maps rows ``s`` of shape ``(rows, D + 1 + C)`` to a tuple that begins with ds/dt, which
        is 1 for the time and 0 for the context, and ``s``; after them comes whatever serves the other
        methods. Prepare once for all the evaluations of a solve.
        """
        raise NotImplementedError(f"{type(self).__name__} must define prepare()")

    def trace(self, sweep: Sweep) -> Tensor:
        """Return the divergence of dx/dt, ``(rows,)``, from what an evaluation left."""
        return self.autograd_trace(sweep)

    def autograd_trace(self, sweep: Sweep) -> Tensor:
        """Return the same by automatic differentiation, at the cost of D backward passes."""
        return self._jacobians(sweep).diagonal(dim1=0, dim2=2).sum(-1)

    def square_jacobian(self, sweep: Sweep) -> Tensor:
        """Return the squared Frobenius norm of the Jacobian of dx/dt, ``(rows,)``."""
        return self._jacobians(sweep).square().sum((0, 2))

    def pull(self, sweep: Sweep, cotangent: Tensor) -> Tensor:
        """Return the transposed Jacobian of dx/dt times a vector for each row, ``(rows, D)``."""
        x, of_x = self._of_x(sweep)
        product: Tensor = torch.func.vjp(of_x, x)[1](cotangent)[0]
        return product

    def _jacobians(self, sweep: Sweep) -> Tensor:
        """The Jacobian of each row, ``(D, rows, D)``: component, row, derivative."""
        x, of_x = self._of_x(sweep)
        pull = torch.func.vjp(of_x, x)[1]
        basis = torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
        jacobians: Tensor = torch.func.vmap(pull)(basis.unsqueeze(1).expand(-1, len(x), -1))[0]
        return jacobians

    def _of_x(self, sweep: Sweep) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        evaluate, size = self.prepare(), self.input_dim
        s = sweep[1]
        x, rest = s[:, :size], s[:, size:]
        return x, lambda x: evaluate(torch.cat([x, rest], dim=1))[0][:, :size]

    def extra_repr(self) -> str:
        """State the sizes in ``repr``."""
        context = f", context_dim={self.context_dim}" if self.context_dim else ""
        return f"input_dim={self.input_dim}{context}"


class ModuleVelocity(Velocity):
    """Any network as a velocity.

    Args:
        network: Called as ``network(t, x)``, or ``network(t, x, context)`` where there is one, with times of
            shape ``(rows, 1)``; gives dx/dt, ``(rows, D)``.
        input_dim: Size ``D`` of x.
        context_dim: Size of the context; zero for none.
        end_time: The time at the data.

    Example:
        >>> network = nn.Linear(2, 2)
        >>> velocity = ModuleVelocity(lambda t, x: t * network(x), 2)
        >>> velocity(0.5, torch.randn(7, 2)).shape
        torch.Size([7, 2])
    """

    def __init__(
        self,
        network: Callable[..., Tensor],
        input_dim: int,
        context_dim: int = 0,
        *,
        end_time: float = 1.0,
    ) -> None:
        super().__init__(input_dim, context_dim, end_time=end_time)
        self.network = network

    def prepare(self) -> Evaluate:
        """Return the evaluation."""
        size = self.input_dim

        def evaluate(s: Tensor) -> Sweep:
            columns = [s[:, size : size + 1], s[:, :size]]
            v = self.network(*columns, *([s[:, size + 1 :]] if self.context_dim else []))
            return torch.cat([v, torch.ones_like(columns[0]), torch.zeros_like(s[:, size + 1 :])], 1), s

        return evaluate
