"""What is raced in ``benchmarks.cnf``: our training steps, and FFJORD's as its codes write them."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from pyro_dgm.flows import CNF, Flow, OTFlow

__all__ = ["STEPS", "Reference", "nll_step", "ot_flow_loss", "step_of", "used_cnf"]

STEPS = 8


class Reference(nn.Module):
    """The field and the integrands as FFJORD codes write them, for torchdiffeq."""

    def __init__(self, flow: CNF, *, exact: bool) -> None:
        super().__init__()
        layers = [copy.deepcopy(layer) for layer in flow.velocity.layers]
        self.network = nn.Sequential(layers[0], nn.Tanh(), layers[1], nn.Tanh(), layers[2])
        self.exact, self.probe = exact, torch.empty(0)

    def forward(self, t: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Return dx/dt and the negative trace."""
        x = state[0]
        with torch.enable_grad():
            x = x.requires_grad_() if x.is_leaf else x
            v = self.network(torch.cat([x, t.expand(len(x), 1)], 1))
            if self.exact:
                trace = sum(
                    torch.autograd.grad(v[:, i].sum(), x, create_graph=True)[0][:, i]
                    for i in range(x.shape[1])
                )
            else:
                pulled = torch.autograd.grad(v, x, self.probe, create_graph=True)[0]
                trace = (pulled * self.probe).sum(1)
        return v, trace

    def log_prob(self, y: Tensor) -> Tensor:
        """Solve from the data to the base."""
        from torchdiffeq import odeint, odeint_adjoint

        solve = odeint_adjoint if self.exact else odeint
        if not self.exact:
            self.probe = 2.0 * torch.randint(2, y.shape).to(y) - 1.0
        start = (y.clone().requires_grad_(), y.new_zeros(len(y)))
        x, ladj = solve(self, start, y.new_tensor([1.0, 0.0]), method="rk4", options={"step_size": 1 / STEPS})
        return -0.5 * x[-1].square().sum(1) - 0.5 * y.shape[1] * math.log(2 * math.pi) + ladj[-1]


def step_of(parameters: list[nn.Parameter], loss: Callable[[], Tensor]) -> Callable[[], None]:
    """A training step; with a learning rate so small that the work stays the same."""
    optimiser = torch.optim.Adam(parameters, lr=1e-9, fused=True)

    def step() -> None:
        value = loss()
        optimiser.zero_grad()
        value.backward()
        optimiser.step()

    return step


def used_cnf(dim: int, **options: object) -> CNF:
    """A CNF with torch's default initialisation throughout, so that it moves points."""
    torch.manual_seed(0)
    flow = CNF(dim, nt_train=STEPS, **options)
    flow.velocity.layers[-1].reset_parameters()
    return flow


def nll_step(flow: Flow, y: Tensor) -> Callable[[], None]:
    """A step of the likelihood, with the costs where there are some."""

    def loss() -> Tensor:
        d = flow()
        costs = d.score_with_costs(y) if flow.penalties else {}
        extra = sum((flow.penalties[name] * cost.mean() for name, cost in costs.items()), y.new_zeros(()))
        return -d.log_prob(y).mean() + extra

    return step_of(list(flow.parameters()), loss)


def ot_flow_loss(flow: OTFlow, y: Tensor) -> Tensor:
    """The training loss, as ``fit`` computes it."""
    d = flow()
    costs = d.score_with_costs(y)
    return -d.log_prob(y).mean() + sum(flow.penalties[name] * c.mean() for name, c in costs.items())
