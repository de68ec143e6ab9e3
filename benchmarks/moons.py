"""How near to the truth flows come in a fixed time: ``python -m benchmarks.moons --seconds 60``.

Two moons with noise 0.05 have a known density, so that the Kullback-Leibler gap of a trained flow, the mean
of log p(x) - log q(x) over fresh points x, is measured as a paired difference, with its standard error. Each
flow trains by ``fit`` for so many CPU seconds of one thread, on fresh rows at each step, with batches that
grow, a cosine schedule, clipping, and an average of the weights.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pyro_dgm.distributions import TwoMoons
from pyro_dgm.flows import MAF, Flow, NeuralSpline, NeuralSplineAutoregressive, RealNVP
from pyro_dgm.models import NormalizingFlow
from pyro_dgm.training import AverageWeights, FitState, fit

RESULTS = Path(__file__).parent / "results"
BARS = {60: 0.008, 180: 0.004}

FLOWS: dict[str, tuple[Callable[[], Flow], float]] = {
    "spline coupling 4 x 128": (lambda: NeuralSpline(2, num_layers=4, num_bins=16), 2e-3),
    "spline coupling 6 x 128": (lambda: NeuralSpline(2), 2e-3),
    "spline autoregressive 3 x 128": (lambda: NeuralSplineAutoregressive(2, num_bins=16), 2e-3),
    "real-nvp 6 x 128": (lambda: RealNVP(2), 2e-3),
    "maf 6 x 128": (lambda: MAF(2, num_layers=6), 2e-3),
}


class GrowingBatches:
    """Fresh points, the more the further training is."""

    def __init__(self, seconds: float, smallest: int = 256, largest: int = 1024) -> None:
        self.target, self.seconds = TwoMoons(0.05), seconds
        self.smallest, self.largest, self.start = smallest, largest, time.process_time()

    def done(self) -> float:
        """The fraction of the CPU time that is used up."""
        return min(1.0, (time.process_time() - self.start) / self.seconds)

    def sample(self, n: int) -> Tensor:
        """Draw a batch; ``n`` of fit is not used."""
        growth = self.largest / self.smallest
        return self.target.sample(torch.Size([int(self.smallest * growth ** self.done())]))


def train(name: str, seconds: float, seed: int) -> tuple[Flow, int]:
    """Train a flow for so many CPU seconds; return it and the number of steps."""
    torch.manual_seed(seed)
    make, lr = FLOWS[name]
    flow = make()
    data = GrowingBatches(seconds)

    def stop_in_time(state: FitState) -> None:
        if data.done() >= 1:
            state.stop("CPU time is up")

    def cosine(_: float) -> float:
        return 0.5 * (1 + math.cos(math.pi * data.done()))

    history = fit(
        NormalizingFlow(flow),
        data,
        steps=10**7,
        lr=lr,
        schedule=cosine,
        clip=5.0,
        seed=seed,
        callbacks=[stop_in_time, AverageWeights(0.995)],
        log_every=1000,
        progress=False,
    )
    return flow, history.num_steps


@torch.no_grad()
def gap(flow: Flow, num_points: int = 400_000) -> tuple[float, float]:
    """The divergence from the truth in nats, and its standard error."""
    target = TwoMoons(0.05)
    with torch.random.fork_rng():
        torch.manual_seed(12345)
        x = target.sample(torch.Size([num_points]))
    log_p = target.log_prob(x.double())
    log_q = torch.cat([flow().log_prob(rows) for rows in x.split(20_000)])
    difference = log_p - log_q.double()
    return difference.mean().item(), (difference.std() / math.sqrt(num_points)).item()


def run(name: str, seconds: float, seed: int) -> dict[str, Any]:
    """Train one flow from one seed, and measure it."""
    flow, steps = train(name, seconds, seed)
    mean, error = gap(flow)
    size = sum(p.numel() for p in flow.parameters())
    return {"flow": name, "seed": seed, "gap": mean, "error": error, "steps": steps, "parameters": size}


def table(results: list[dict[str, Any]], seconds: float) -> str:
    """A line for each flow, the best first."""
    rows = []
    for name in {r["flow"]: 0 for r in results}:
        runs = [r for r in results if r["flow"] == name]
        gaps = ", ".join(f"{r['gap']:.4f}" for r in runs)
        mean, error = (sum(r[key] for r in runs) / len(runs) for key in ("gap", "error"))
        steps = sum(r["steps"] for r in runs) // len(runs)
        rows.append(
            (mean, f"| {name} | {runs[0]['parameters']} | {steps} | {mean:.4f} | {error:.4f} | {gaps} |")
        )
    head = "| flow | parameters | steps | gap in nats, mean | SE of one | each seed |\n" + "|---" * 6 + "|"
    (best, line), bar = min(rows), BARS.get(int(seconds))
    seeds = sum(r["flow"] == line.split("|")[1].strip() for r in results)
    outcome = "met" if bar is not None and best <= bar else "MISSED"
    verdict = (
        "" if bar is None else f", bar {bar}: {outcome}" + ("" if seeds >= 3 else f" ({seeds} seed of 3)")
    )
    lines = [f"Two moons, {seconds:g} CPU seconds of training", "", head, *(line for _, line in sorted(rows))]
    return "\n".join([*lines, "", f"Best {best:.4f} nats{verdict}", ""])


def main() -> int:
    """Train, measure, and write table and JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="", help="train the flows whose name holds this")
    parser.add_argument(
        "--out", type=Path, default=RESULTS, help="folder for table and JSON; runs there stay"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    stem = arguments.out / f"moons_{arguments.seconds:g}"
    kept = stem.with_suffix(".json")
    results: list[dict[str, Any]] = json.loads(kept.read_text())["runs"] if kept.exists() else []
    packages = {name: version(name) for name in ("torch", "pyro-ppl")} | {"machine": platform.machine()}
    for seed in range(arguments.seeds):
        for name in [name for name in FLOWS if arguments.only in name]:
            if any((r["flow"], r["seed"]) == (name, seed) for r in results):
                continue
            results.append(run(name, arguments.seconds, seed))
            print(results[-1], flush=True)
            content = table(results, arguments.seconds)
            stem.with_suffix(".md").write_text(f"{content}\nVersions: {packages}, {os.cpu_count()} cores\n")
            kept.write_text(json.dumps({"environment": packages, "runs": results}, indent=1) + "\n")
    print(table(results, arguments.seconds))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
