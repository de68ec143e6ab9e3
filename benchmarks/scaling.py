"""How training scales with processes, measured on one and two: ``python -m benchmarks.scaling``.

A VAE of perceptrons on rows of 784 numbers, in three sizes, is trained by ``fit`` at two batch sizes, on one
process and on two that share each batch, and on two with the weights spread over them. What is counted is
the processor time of the slower process for a step, one thread each: with a core to itself that is how long a
step takes, whatever else runs on the machine. From it comes a model of a step on n processes,

    seconds(n) = fixed + rows / n * per row(P) + exchange(n, P)

whose parts are fitted to the runs on one process and to the difference that the second one makes, and whose
predictions for more processes are printed for some networks. ``--write`` puts the tables into
``benchmarks/results/scaling.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from pyro_dgm.guides import AmortizedNormal
from pyro_dgm.models import VAE
from pyro_dgm.objectives import ELBO
from pyro_dgm.training import FitState, fit, start_processes
from pyro_dgm.training.parts import local_of

RESULT = Path(__file__).parent / "results" / "scaling.md"
HIDDEN, BATCHES, ROWS, WARM, STEPS = (64, 256, 768), (128, 1024), 4096, 4, 16
NETWORKS = {"10 Gbit/s": 1.25e9, "100 Gbit/s": 1.25e10}


@dataclass
class Measured:
    """One run: seconds are processor seconds of the slower process for a step."""

    hidden: int
    batch: int
    processes: int
    shard: bool
    parameters: int
    held: int
    seconds: float
    wall: float


class Encoder(nn.Module):
    """A perceptron to location and log-variance."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(784, hidden), nn.ReLU(), nn.Linear(hidden, 64))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return both."""
        return self.net(x).chunk(2, -1)


def vae(hidden: int) -> ELBO:
    """The loss module of a VAE."""
    torch.manual_seed(0)
    decoder = nn.Sequential(nn.Linear(32, hidden), nn.ReLU(), nn.Linear(hidden, 784))
    return ELBO(VAE(decoder, 32, guide=AmortizedNormal(Encoder(hidden))))


def measure(hidden: int, batch: int, shard: bool) -> Measured:
    """Train on the processes that there are."""
    torch.set_num_threads(1)
    ranks, times = start_processes(), []
    data = torch.rand(ROWS, 784, generator=torch.Generator().manual_seed(0)).round()
    held = []

    def look(state: FitState) -> None:
        if state.step >= WARM:
            times.append((time.process_time(), time.perf_counter()))
        if state.step == WARM:
            held.append(sum(local_of(p).numel() for p in state.objective.parameters()))

    loss = vae(hidden)
    fit(loss, data, steps=WARM + STEPS, batch_size=batch, shard=shard, callbacks=[look], progress=False)
    spans = [(b - a) / (len(times) - 1) for a, b in zip(times[0], times[-1], strict=True)]
    everywhere = ranks.gather(spans)
    size = sum(p.numel() for p in loss.parameters())
    seconds, wall = (max(column) for column in zip(*everywhere, strict=True))
    return Measured(hidden, batch, ranks.size, shard, size, held[0], seconds, wall)


def work(out: str) -> None:
    """What each process does: all cases, one after the other."""
    many = start_processes().many
    cases = [(h, b, s) for s in ((False, True) if many else (False,)) for h in HIDDEN for b in BATCHES]
    found = [asdict(measure(*case)) for case in cases]
    if start_processes().first:
        Path(out).write_text(json.dumps(found))


def launch(processes: int) -> list[Measured]:
    """Start the processes, wait, and return what they measured."""
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        out = Path(folder) / "measured.json"
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
        free.close()
        launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
        command = [*launcher, "--master-port", port, "-m", "benchmarks.scaling", "--work", str(out)]
        subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
        return [Measured(**row) for row in json.loads(out.read_text())]


def fitted(runs: list[Measured]) -> dict[str, Any]:
    """Fit the model: fixed and per-row seconds of each size on one process; what the second one adds."""
    alone = [run for run in runs if run.processes == 1]
    both = [run for run in runs if run.processes == 2 and not run.shard]
    line = {}
    for hidden in HIDDEN:
        own = [run for run in alone if run.hidden == hidden]
        slope, fixed = np.polyfit([run.batch for run in own], [run.seconds for run in own], 1)
        line[hidden] = (max(fixed, 0.0), slope)
    excess = [run.seconds - line[run.hidden][0] - line[run.hidden][1] * run.batch / 2 for run in both]
    per_parameter, fixed = np.polyfit([run.parameters for run in both], excess, 1)
    return {"line": line, "call": max(float(fixed), 0.0), "per_parameter": max(float(per_parameter), 0.0)}


def predicted(model: dict[str, Any], hidden: int, batch: int, processes: int, parameters: int) -> float:
    """Seconds of a step on one machine, where exchanging costs what it was measured to."""
    fixed, per_row = model["line"][hidden]
    share = 0.0 if processes == 1 else 2 * (processes - 1) / processes  # of a ring, one on two processes
    exchange = 0.0 if processes == 1 else model["call"] + share * model["per_parameter"] * parameters
    return float(fixed + per_row * batch / processes + exchange)


def tables(runs: list[Measured], model: dict[str, Any]) -> list[str]:
    """Return the lines of the report."""
    alone = {(r.hidden, r.batch): r for r in runs if r.processes == 1}
    lines = [
        "| parameters | batch | processes | weights | ms a step | model | speed-up | numbers held by each |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for run in runs:
        own = alone[run.hidden, run.batch].seconds
        said = (
            ""
            if run.shard
            else f"{1e3 * predicted(model, run.hidden, run.batch, run.processes, run.parameters):.1f}"
        )
        lines.append(
            f"| {run.parameters:,} | {run.batch} | {run.processes} | {'spread' if run.shard else 'whole'} | "
            f"{1e3 * run.seconds:.1f} | {said} | {own / run.seconds:.2f} | {run.held:,} |"
        )
    lines += ["", "The fitted parts:", "", "| parameters | fixed, ms | a row, ms |", "|---|---|---|"]
    size = {run.hidden: run.parameters for run in runs}
    for hidden, (fixed, per_row) in model["line"].items():
        lines.append(f"| {size[hidden]:,} | {1e3 * fixed:.2f} | {1e3 * per_row:.4f} |")
    lines += [
        "",
        f"Exchanging: {1e3 * model['call']:.2f} ms, {1e9 * model['per_parameter']:.2f} ns a parameter.",
        "",
        "Modelled speed-up, not measured: the exchange is then that of a ring over a network, "
        "2 (n - 1) / n * 4 bytes a parameter over its bandwidth, with one fixed part for each doubling of n.",
        "",
        "| parameters | batch | network | " + " | ".join(f"n = {n}" for n in (2, 4, 8, 16, 64)) + " |",
        "|---|---|---|" + "---|" * 5,
    ]
    for (hidden, batch), run in alone.items():
        for name, bandwidth in NETWORKS.items():
            fixed, per_row = model["line"][hidden]
            one = fixed + per_row * batch
            cells = []
            for n in (2, 4, 8, 16, 64):
                exchange = model["call"] * np.log2(n) + 2 * (n - 1) / n * 4 * run.parameters / bandwidth
                cells.append(f"{one / (fixed + per_row * batch / n + exchange):.2f}")
            lines.append(f"| {run.parameters:,} | {batch} | {name} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    """Run the benchmark and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    parser.add_argument("--write", action="store_true", help=f"write {RESULT.name}")
    options = parser.parse_args()
    if options.work:
        work(options.work)
        return
    runs = launch(1) + launch(2)
    versions = f"torch {torch.__version__}, Python {platform.python_version()}"
    text = "\n".join(
        [
            "# Scaling over processes\n\nProcessor time of the slower process, one thread each, gloo on one "
            f"machine; {STEPS} steps; {versions}. Made by `python -m benchmarks.scaling --write`; what it "
            "means: `docs/sizing.md`.\n",
            *tables(runs, fitted(runs)),
            "",
        ]
    )
    print(text)
    if options.write:
        RESULT.write_text(text)


if __name__ == "__main__":
    main()
