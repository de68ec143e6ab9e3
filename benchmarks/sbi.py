"""Amortized posteriors of three simulators: this library's and the sbi package's, at equal simulations.

python -m benchmarks.sbi --seeds 0 --observations 5

Both get the same arrays of parameters and data, hold out a tenth, standardise parameters and data, train in
one thread with batches of 200, and keep the weights that are best on the held-out part. Each goes by its own
default rule: sbi at a constant rate until twenty passes bring no new best, or until --limit CPU-seconds have
gone; this library through one cycle of rates of 2 500 updates, with averaged weights. The figure is C2ST: how
well a network tells draws from exact ones, over five folds (sbi's implementation for all); 0.5 is perfect.
"""

from __future__ import annotations

import argparse
import json
import math
import time
import warnings
from collections.abc import Callable
from contextlib import chdir
from importlib import import_module
from importlib.metadata import version
from itertools import product
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch
from torch import Tensor

from benchmarks.sbi_tasks import TASKS, Task
from pyro_dgm.flows import NeuralSpline
from pyro_dgm.inference import Program, adversarial_posterior, neural_posterior

Sampler = Callable[[Tensor, int], Tensor]
Run = tuple[Sampler, int, str]  # draws for data, passes over the simulations, a remark
LIMIT = 150


def ours(task: Task, made: dict[str, Tensor], seed: int, flow: Any = None) -> Run:
    """The library's posterior, with its default flow unless another is given."""
    posterior = neural_posterior(
        task.simulator, observed="x", latent="theta", simulations=made, seed=seed, flow=flow
    )
    batches = math.ceil(0.9 * len(made["x"]) / 200)
    return lambda x, n: posterior.sample(x, n)["theta"], posterior.history.num_steps // batches, ""


def by_game(task: Task, made: dict[str, Tensor], seed: int) -> Run:
    """The library's posterior without a density, learned against a critic."""
    posterior = adversarial_posterior(
        task.simulator, observed="x", latent="theta", simulations=made, seed=seed
    )
    steps = posterior.history.num_steps
    return lambda x, n: posterior.sample(x, n)["theta"], steps * 256 // len(made["x"]), ""


def theirs(task: Task, made: dict[str, Tensor], seed: int, passes: int | None = None) -> Run:
    """The sbi package's, with its default spline flow: by its own rule, or for a number of passes."""
    from sbi.inference import NPE

    torch.manual_seed(seed)
    with chdir(mkdtemp()):  # its logs
        trainer = NPE(prior=task.prior(), density_estimator="nsf", show_progress_bars=False)
    trainer.append_simulations(made["theta"], made["x"].flatten(1))
    if passes is None:
        start = time.process_time()
        trainer.train(max_num_epochs=3)
        middle = time.process_time()
        trainer.train(max_num_epochs=9, resume_training=True)  # to know how long one pass takes
        each, spent = (time.process_time() - middle) / 6, time.process_time() - start
        most = 9 + int((LIMIT - spent) / each)
        trainer.train(max_num_epochs=most, resume_training=True)
    else:
        trainer.train(max_num_epochs=passes)
    posterior = trainer.build_posterior()

    def sample(x: Tensor, n: int) -> Tensor:
        return posterior.sample((n,), x=x.reshape(1, -1), show_progress_bars=False)  # type: ignore[no-any-return]

    made_passes = int(trainer.summary["epochs_trained"][-1])
    cut = passes is None and made_passes >= most
    early = "stopped by its own rule" if passes is not None and made_passes < passes else ""
    return sample, made_passes, f"stopped after {LIMIT} s" if cut else early


def matched(dim: int, context_dim: int) -> NeuralSpline:
    """The sizes of sbi's spline flow."""
    sizes: dict[str, Any] = {"num_layers": 5, "hidden_dims": (50, 50), "num_bins": 10, "bound": 3.0}
    return NeuralSpline(dim, context_dim, affine=True, **sizes)


METHODS: dict[str, Callable[[Task, dict[str, Tensor], int], Run]] = {
    "pyro_dgm, default": ours,
    "pyro_dgm, sbi's sizes": lambda *args: ours(*args, flow=matched),
    "pyro_dgm, adversarial": by_game,
    "sbi, as many passes": lambda *args: theirs(*args, passes=56),
    "sbi, its own rule": theirs,
}


def c2st(reference: Tensor, drawn: Tensor) -> float:
    from sbi.utils.metrics import c2st

    return float(c2st(reference, drawn, classifier="mlp"))


def references(name: str, num: int, draws: int, folder: Path) -> list[tuple[Tensor, Tensor, float]]:
    """Observations, exact draws for each, and what the test says of two sets of exact draws; made once."""
    path = folder / f"{name.replace(' ', '_')}_{num}_{draws}.pt"
    if path.exists():
        return torch.load(path, weights_only=True)  # type: ignore[no-any-return]
    torch.manual_seed(1234)
    found, task = [], TASKS[name]
    for x in Program(task.simulator).simulate(num, ["x"])["x"]:
        one, two = task.exact(x, draws), task.exact(x, draws)
        found.append((x, one, c2st(one, two)))
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(found, path)
    return found


def trained(name: str, method: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Train a posterior and keep its draws for each observation; made once."""
    path = options.exact / f"{name}_{method}_{seed}.pt".replace(" ", "_")
    if path.exists():
        return torch.load(path, weights_only=True)  # type: ignore[no-any-return]
    task = TASKS[name]
    exact = references(name, options.observations, options.draws, options.exact)
    torch.manual_seed(seed)
    made = Program(task.simulator).simulate(options.simulations, ["theta", "x"])
    start = time.process_time()
    sample, passes, remark = METHODS[method](task, made, seed)
    row = {"task": name, "method": method, "seed": seed, "seconds": time.process_time() - start,
           "passes": passes, "remark": remark}  # fmt: skip
    print(row, flush=True)
    torch.manual_seed(seed)
    row["draws"] = [sample(x, options.draws) for x, *_ in exact]
    torch.save(row, path)
    return row


def scored(row: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    exact = references(row["task"], options.observations, options.draws, options.exact)
    scores = [c2st(one, drawn) for (_, one, _), drawn in zip(exact, row["draws"], strict=True)]
    rest = {key: value for key, value in row.items() if key != "draws"}
    return rest | {"c2st": scores, "floor": [floor for *_, floor in exact]}


def table(rows: list[dict[str, Any]], simulations: int) -> str:
    """Means over seeds and observations; the error is that of the mean over both."""
    seeds = len({row["seed"] for row in rows})
    lines = [
        f"{simulations} simulations, one thread, {seeds} seed(s); torch {torch.__version__}, sbi "
        f"{version('sbi')}. C2ST over observations and seeds, ± its standard error; 0.5 is perfect.",
        "",
        "| task | posterior | C2ST | CPU-s of training | passes |",
        "|---|---|---|---|---|",
    ]
    for task in [name for name in TASKS if name in {row["task"] for row in rows}]:
        of_task = [row for row in rows if row["task"] == task]
        lines.append(f"| {task} | two sets of exact draws | {spread(of_task[0]['floor'])} | | |")
        for method in [name for name in METHODS if name in {row["method"] for row in of_task}]:
            own = [row for row in of_task if row["method"] == method]
            scores = [score for row in own for score in row["c2st"]]
            seconds, passes = (sum(row[key] for row in own) / len(own) for key in ("seconds", "passes"))
            remark = ", ".join({row["remark"] for row in own if row["remark"]})
            passed = f"{passes:.0f}" + (f" ({remark})" if remark else "")
            lines.append(f"| {task} | {method} | {spread(scores)} | {seconds:.0f} | {passed} |")
    return "\n".join(lines) + "\n"


def spread(values: list[float]) -> str:
    found = torch.tensor(values)
    return f"{found.mean():.3f} ± {found.std() / len(values) ** 0.5:.3f}"


def enter(row: dict[str, Any], out: Path, simulations: int) -> None:
    """Put a run beside those of earlier calls, in place of one of the same task, method and seed."""
    path = out / "sbi.json"
    rows = json.loads(path.read_text()) if path.exists() else []
    keys = ("task", "method", "seed")
    rows = [other for other in rows if any(other[key] != row[key] for key in keys)] + [row]
    path.write_text(json.dumps(rows, indent=1) + "\n")
    (out / "sbi.md").write_text(table(rows, simulations))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--simulations", type=int, default=10_000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--observations", type=int, default=5)
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS))
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--only-train", action="store_true", help="keep draws, to be scored later")
    parser.add_argument("--exact", type=Path, default=Path("runs/sbi"), help="folder of draws")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", module="sbi")
    import_module("sbi.inference")  # before any clock starts
    options.out.mkdir(parents=True, exist_ok=True)
    for name, seed, method in product(options.tasks, options.seeds, options.methods):
        row = trained(name, method, seed, options)
        if not options.only_train:
            row = scored(row, options)
            print(json.dumps(row), flush=True)
            enter(row, options.out, options.simulations)


if __name__ == "__main__":
    main()
