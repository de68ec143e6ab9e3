"""Small objectives whose losses are known in closed form."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from pyro_dgm.flows import RealNVP
from pyro_dgm.models import NormalizingFlow
from pyro_dgm.objectives import Batch


class Mean(nn.Module):
    """Half the mean squared distance of the rows to a point: its minimum is the mean of the data."""

    def __init__(self, size: int = 2) -> None:
        super().__init__()
        self.point = nn.Parameter(torch.zeros(size, dtype=torch.double))
        self.batches: list[Batch] = []

    def forward(self, batch: Batch) -> Tensor:
        self.batches.append(batch)
        return 0.5 * (batch.x - self.point).square().sum(-1).mean()


class Losses(NamedTuple):
    critic: float
    generator: float | None


class Game:
    """Steps itself: moves ``net`` and reports what it is told to."""

    def __init__(self, losses: Losses | None = None) -> None:
        self.net = nn.Linear(2, 1).double()
        self.optimizers = (torch.optim.SGD(self.net.parameters(), lr=0.1),)
        self.losses = losses or Losses(1.0, None)

    def step(self, batch: Batch):
        with torch.no_grad():
            for p in self.net.parameters():
                p += 1.0
        return self.losses


def small_flow(seed: int = 0) -> NormalizingFlow:
    torch.manual_seed(seed)
    return NormalizingFlow(RealNVP(2, num_layers=2, hidden_dims=(8,))).double()


def rows(n: int = 50, size: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return 2 + torch.randn(n, size, generator=generator, dtype=torch.double)


def weights(module: nn.Module) -> list[Tensor]:
    return [t.detach().clone() for t in module.state_dict().values()]


def same(a: list[Tensor], b: list[Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
