"""What the launchers start: trains models whose weights are spread over the processes."""

import copy
import pickle
import sys
from functools import partial
from pathlib import Path

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn

from pyro_dgm.errors import TrainingDiverged
from pyro_dgm.guides import AmortizedNormal
from pyro_dgm.models import VAE
from pyro_dgm.objectives import ELBO
from pyro_dgm.training import Every, fit, start_processes
from pyro_dgm.training.parts import local_of
from tests.training.families import Encoder, flow, numbers, rows

SGD = partial(torch.optim.SGD, lr=0.05, momentum=0.5)
# 49 rows in batches of 16: the last batch of an epoch is one row, on one of two processes.
OPTIONS = {"steps": 20, "batch_size": 16, "seed": 3, "progress": False, "row_noise": True, "optimizer": SGD}
# The gradient is clipped in each step, and each batch comes in parts.
OPTIONS |= {"clip": 0.5, "accumulate": 3}
SHARED = {"validation": rows(7), "validate_every": 5, "every": 4, "keep": 9}


class Decoder(nn.Module):
    """Layers of odd sizes, a frozen one, two that are tied, and a scale without dimensions."""

    def __init__(self) -> None:
        super().__init__()
        first, second, frozen = nn.Linear(2, 7), nn.Linear(7, 7), nn.Linear(7, 7)
        tied = nn.Linear(7, 7)
        tied.weight = second.weight
        self.body = nn.Sequential(first, nn.Tanh(), nn.Sequential(second, nn.Tanh(), tied), frozen)
        frozen.requires_grad_(False)
        self.head, self.scale = nn.Linear(7, 2), nn.Parameter(torch.tensor(0.7))

    def forward(self, z: Tensor) -> Tensor:
        return self.scale * self.head(self.body(z))


def unit_normal(loc: Tensor) -> dist.Independent:
    return dist.Normal(loc, 1.0).to_event(1)


def layered(dtype: torch.dtype = torch.double) -> ELBO:
    torch.manual_seed(0)
    decoder = nn.Sequential(Decoder(), nn.Linear(2, 9), nn.Tanh(), nn.Linear(9, 2))
    return ELBO(VAE(decoder, 2, likelihood=unit_normal, guide=AmortizedNormal(Encoder())).to(dtype))


MODELS = {"layered": layered, "flow": lambda dtype: flow(dtype=dtype)}


def train(kind: str, dtype: torch.dtype, **options) -> ELBO:
    objective = MODELS[kind](dtype)
    fit(objective, rows(49).to(dtype), **OPTIONS | options)
    return objective


def weights_of_all(folder: Path) -> None:
    for kind in MODELS:
        for dtype in (torch.float64, torch.float32):
            objective = train(kind, dtype, shard=True)
            check_that_it_is_whole(objective)
            if start_processes().first:
                torch.save(numbers(objective), folder / f"{kind}-{dtype}.pt")


def resumed(folder: Path) -> None:
    """Leave in the middle and go on; each process holds half of the weights meanwhile."""
    held: list[int] = []

    def count(state):
        held.append(sum(local_of(p).numel() for p in state.objective.parameters()))

    for stop_at in (8, 10**9):
        leave = Every(1, lambda state, at=stop_at: state.stop("interrupted") if state.step == at else None)
        options = {"checkpoint": folder / "run", "resume": True, "callbacks": [Every(1, count), leave]}
        objective = train("layered", torch.float64, shard=True, **SHARED, **options)
    whole = sum(p.numel() for p in objective.parameters())
    assert all(number < 0.6 * whole for number in held), (held, whole)
    if start_processes().first:
        torch.save(numbers(objective), folder / "resumed.pt")


def check_that_it_is_whole(objective: ELBO) -> None:
    """A model that was spread is as any other afterwards."""
    twin = pickle.loads(pickle.dumps(copy.deepcopy(objective)))
    assert all(type(p) is nn.Parameter and local_of(p) is p for p in objective.parameters())
    assert not any(type(module).__name__.startswith("FSDP") for module in objective.modules())
    assert objective.model.sample(3, seed=0).shape == (3, 2)
    data = rows().to(next(twin.parameters()).dtype)
    before = twin.evaluate_loss(data)
    history = fit(twin, data, steps=3, progress=False)
    assert history.num_steps == 3
    assert twin.evaluate_loss(data) != before


def diverging(folder: Path) -> None:
    """A row that is not finite on the second process alone ends training on both, with whole weights."""
    objective = MODELS["layered"](torch.float64)
    before = numbers(objective)

    def poison(state):
        if state.step == 3 and not start_processes().first:
            data[:] = torch.nan

    data = rows(48)
    with pytest.raises(TrainingDiverged, match=r"step 3 .*the data, row 0"):
        fit(objective, data, callbacks=[poison], shard=True, **OPTIONS | {"steps": 9})
    after = numbers(objective)
    assert all(t.isfinite().all() for t in after)
    assert any(not torch.equal(a, b) for a, b in zip(after, before, strict=True))
    check_that_it_is_whole(objective)
    (folder / f"diverged-{start_processes().rank}").touch()


if __name__ == "__main__":
    torch.set_num_threads(1)
    pyro.set_rng_seed(0)
    for part in {"all": (weights_of_all, resumed, diverging)}[sys.argv[2]]:
        part(Path(sys.argv[1]))
