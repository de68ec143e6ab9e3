"""What the launchers start: trains the families and saves their weights, or fails on purpose."""

import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

import pyro
import pyro.distributions as dist
import torch
from pyro.infer.autoguide import AutoNormal
from pyro.nn import PyroModule
from torch import Tensor

from pyro_dgm.objectives import ELBO
from pyro_dgm.plates import data_plate
from pyro_dgm.training import fit, start_processes
from tests.training.families import FAMILIES, numbers, rows

SGD = partial(torch.optim.SGD, lr=0.05)
# 49 rows in batches of 16: the last batch of an epoch is one row, on one of two processes.
OPTIONS = {"steps": 20, "batch_size": 16, "seed": 3, "progress": False, "row_noise": True}


class CommonMean(PyroModule):
    """A latent that all rows share: its prior counts once, whatever the batch and however it is divided."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.register_buffer("prior", torch.tensor(0.5, dtype=dtype))

    def forward(self, x: Tensor, *, size: int | None = None, index: Tensor | None = None) -> None:
        mean = pyro.sample("mean", dist.Normal(self.prior, 0.1))
        with data_plate(len(x), size, index):
            pyro.sample("x", dist.Normal(mean, 1.0).expand([2]).to_event(1), obs=x)


def common(dtype: torch.dtype = torch.double) -> ELBO:
    """A model and a guide whose parameters are made when it is first called."""
    model = CommonMean(dtype)
    return ELBO(model, AutoNormal(model))


OBJECTIVES = FAMILIES | {"common": common}


def train(family: str, dtype: torch.dtype, **options):
    """Train one family as all launchers do; return its objective."""
    if family == "gan":
        objective = FAMILIES[family](dtype=dtype, optimizer=SGD)
    else:
        objective, options = OBJECTIVES[family](dtype=dtype), options | {"optimizer": SGD}
    fit(objective, rows(49).to(dtype), **OPTIONS | options)
    return objective


def weights_of_all(folder: Path) -> None:
    for family in OBJECTIVES:
        for dtype in (torch.float64, torch.float32):
            objective = train(family, dtype)
            if start_processes().first:
                torch.save(numbers(objective), folder / f"{family}-{dtype}.pt")
    # parts of a batch, of which a process may have fewer rows than parts
    objective = train("vae", torch.float64, accumulate=3)
    if start_processes().first:
        torch.save(numbers(objective), folder / "accumulated.pt")


def killed_once(folder: Path) -> None:
    """The second process is killed in the middle; what has started it may start it anew."""
    rank, sign = start_processes().rank, folder / "killed"

    def die(state):
        if state.step == 11 and rank == 1 and not sign.exists():
            sign.write_text(f"{time.time()}")
            os.kill(os.getpid(), signal.SIGKILL)

    objective = train("vae", torch.float64, checkpoint=folder / "run", resume=True, every=5, callbacks=[die])
    if rank == 0:
        torch.save(numbers(objective), folder / "resumed.pt")


def resumed(folder: Path) -> None:
    """Leave in the middle, unless there is something to resume."""
    stop_at = 10**9 if (folder / "run").exists() else 8
    objective = train(
        "vae",
        torch.float64,
        checkpoint=folder / "run",
        resume=True,
        callbacks=[lambda state: state.stop("interrupted") if state.step == stop_at else None],
    )
    if start_processes().first:
        torch.save(numbers(objective), folder / "resumed.pt")


def left_in_the_air() -> None:
    """End while a thread still sends, and calls Python after that."""
    start_processes()

    def slow(done):
        time.sleep(0.5)
        return done.value()[0]

    torch.distributed.all_reduce(torch.ones(9), async_op=True).get_future().then(slow)


def faulty(folder: Path, kind: str) -> None:
    """Let the second process die, hang, raise, or begin with other weights."""
    ranks = start_processes(timeout=20.0)

    def on_step(state):
        (folder / f"{ranks.rank}").write_text(f"{time.time()}")
        if state.step == 3 and not ranks.first:
            if kind == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            if kind == "hung":
                time.sleep(600)
            if kind == "raising":
                raise ArithmeticError("the second process has raised this")

    objective = FAMILIES["flow"](seed=ranks.rank if kind == "other weights" else 0)
    fit(objective, rows(49), callbacks=[on_step], **OPTIONS | {"steps": 10**6})


if __name__ == "__main__":
    torch.set_num_threads(1)
    where, what = Path(sys.argv[1]), sys.argv[2]
    if what == "weights":
        weights_of_all(where)
    elif what == "resumed":
        resumed(where)
    elif what == "killed once":
        killed_once(where)
    elif what == "left in the air":
        left_in_the_air()
    else:
        faulty(where, what)
