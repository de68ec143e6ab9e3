"""What the launchers start: trains the families and saves their weights, or fails on purpose."""

import sys
import time
from functools import partial
from pathlib import Path

import torch

from pyro_dgm.training import fit, start_processes
from tests.training.families import FAMILIES, numbers, rows

SGD = partial(torch.optim.SGD, lr=0.05)
# 49 rows in batches of 16: the last batch of an epoch is one row, on one of two processes.
OPTIONS = {"steps": 20, "batch_size": 16, "seed": 3, "progress": False, "row_noise": True}


def train(family: str, dtype: torch.dtype, **options):
    """Train one family as all launchers do; return its objective."""
    if family == "gan":
        objective = FAMILIES[family](dtype=dtype, optimizer=SGD)
    else:
        objective, options = FAMILIES[family](dtype=dtype), options | {"optimizer": SGD}
    fit(objective, rows(49).to(dtype), **OPTIONS | options)
    return objective


def weights_of_all(folder: Path) -> None:
    for family in FAMILIES:
        for dtype in (torch.float64, torch.float32):
            objective = train(family, dtype)
            if start_processes().first:
                torch.save(numbers(objective), folder / f"{family}-{dtype}.pt")


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


def faulty(folder: Path, kind: str) -> None:
    """Let the second process die, hang, raise, or begin with other weights."""
    ranks = start_processes(timeout=20.0)

    def on_step(state):
        (folder / f"{ranks.rank}").write_text(f"{time.time()}")
        if state.step == 3 and not ranks.first:
            if kind == "killed":
                import os
                import signal

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
    else:
        faulty(where, what)
