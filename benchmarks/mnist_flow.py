"""Bits per dimension of an image flow on MNIST: ``python -m benchmarks.mnist_flow --data-root DIR``.

Trains a flow on the 8-bit images with uniform dequantisation, on one thread, until the CPU hours or the wall
hours are over (the last 1000 training images are held out for the curve), then scores all 10 000 test images
with one uniform draw each. Written to ``--out``, by the flow's name: a table, the figures with the curve as
JSON, and a picture of 100 draws. ``--run`` is a folder for the weights, saved as training goes.

Exits with 1 if the bar is missed: 1.35 bits/dim within 2 CPU-hours.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyro
import torch
from torch import Tensor

import pyro_dgm
from pyro_dgm.data import level_histogram, mnist, to_levels
from pyro_dgm.flows import Glow, ImageFlow, NeuralSplineImage, RealNVPImage
from pyro_dgm.metrics import bits_per_dim, importance_log_likelihood
from pyro_dgm.models import DequantizedFlow
from pyro_dgm.training import AverageWeights, Every, FitState, fit, save

BAR, HELD_OUT, SHAPE = 1.35, 1000, (1, 28, 28)
Make = Callable[[Tensor, dict[str, int]], ImageFlow]

# By name: what makes the flow of the training pixels' histogram and sizes, and the sizes.
FLOWS: dict[str, tuple[Make, dict[str, int]]] = {
    "neural-spline": (
        lambda histogram, sizes: NeuralSplineImage(SHAPE, histogram=histogram, **sizes),
        {"num_bins": 24, "hidden_channels": 32, "num_blocks": 1},
    ),
    "real-nvp": (
        lambda _, sizes: RealNVPImage(SHAPE, alpha=0.05, **sizes),
        {"num_couplings": 3, "hidden_channels": 32, "num_blocks": 1},
    ),
    "glow": (
        lambda _, sizes: Glow(SHAPE, alpha=0.05, **sizes),
        {"num_steps": 6, "hidden_channels": 32, "num_blocks": 1},
    ),
}


@dataclass
class Clock:
    """CPU and wall seconds since the start, as a share of what is allowed."""

    cpu_limit: float
    wall_limit: float
    cpu_start: float = field(default_factory=time.process_time)
    wall_start: float = field(default_factory=time.monotonic)

    @property
    def cpu(self) -> float:
        """CPU seconds so far."""
        return time.process_time() - self.cpu_start

    @property
    def done(self) -> float:
        """The share of the time that is over, of CPU or of wall, whichever is more."""
        wall = (time.monotonic() - self.wall_start) / self.wall_limit
        return min(1.0, max(self.cpu / self.cpu_limit, wall))


@torch.no_grad()
def figures(model: DequantizedFlow, x: Tensor, seed: int = 0) -> tuple[float, float]:
    """Mean bits per dimension of images and its standard error over them, from one uniform draw each."""
    bound = importance_log_likelihood(model, x, num_samples=1, chunk=500, seed=seed).log_prob
    bits = bits_per_dim(bound, SHAPE)
    return bits.mean().item(), (bits.std() / math.sqrt(len(bits))).item()


class Recorder:
    """Measures the held-out images as training goes, and ends it when the time is over."""

    def __init__(self, model: DequantizedFlow, held_out: Tensor, clock: Clock, run: Path | None) -> None:
        self.model, self.held_out, self.clock, self.run = model, held_out, clock, run
        self.curve: list[dict[str, float]] = []
        self.next = 0.01

    def __call__(self, state: FitState) -> None:
        """Look at the clock, and at the images at growing intervals."""
        done = self.clock.done
        if done >= 1:
            state.stop("the time is over")
        if done >= self.next:
            self.next = done + 0.05 if done > 0.05 else 2 * done
            value, error = figures(self.model, self.held_out)
            row = {"step": state.step, "cpu_seconds": round(self.clock.cpu, 1), "held_out": round(value, 4)}
            self.curve.append(row)
            print(
                f"step {state.step}: {self.clock.cpu:.0f} CPU s, held-out {value:.4f} ± {error:.4f}",
                flush=True,
            )
            if self.run is not None:
                save(self.run, self.model, extra={"curve": self.curve})


def rate(done: float) -> float:
    """Rise over the first hundredth, then fall along half a cosine to a hundredth."""
    return min(1.0, done / 0.01 + 0.01) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))


def train(
    model: DequantizedFlow, x: Tensor, recorder: Recorder, clock: Clock, options: argparse.Namespace
) -> int:
    """Train until the clock says stop; return the number of steps."""
    history = fit(
        model,
        x,
        steps=10**7,
        batch_size=options.batch_size,
        lr=options.lr,
        schedule=lambda _: rate(clock.done),
        clip=500.0,
        seed=options.seed,
        callbacks=[Every(10, recorder), AverageWeights(0.999)],
        log_every=1000,
        progress=False,
    )
    print(f"stopped: {history.stopped}")
    return history.num_steps


def table(result: dict[str, Any]) -> str:
    """The figures as text."""
    rows = [
        f"MNIST, 8-bit, uniform dequantisation: {result['flow']}, seed {result['seed']}",
        f"test bits/dim (10 000 images, one draw each): {result['test']:.4f} ± {result['test_error']:.4f}, "
        f"bar {BAR}: {'met' if result['test'] <= BAR else 'MISSED'}",
        f"the same with other draws:                    {result['test_again']:.4f}",
        f"before training:                              {result['untrained']:.4f}",
        f"training: {result['steps']} steps of {result['batch_size']} images in {result['cpu_seconds']:.0f} "
        f"CPU seconds on one thread ({result['wall_seconds']:.0f} s of wall time on a shared machine)",
        f"configuration: {result['sizes']}, {result['num_parameters']} parameters, Adam lr {result['lr']}, "
        "warm-up and cosine, weights averaged over about 1000 steps",
        f"versions: {result['versions']}",
        "",
        f"{'step':>8} {'CPU s':>8} {'bits/dim of 1000 held-out training images (not averaged weights)'}",
    ]
    rows += [f"{row['step']:8d} {row['cpu_seconds']:8.0f} {row['held_out']:8.4f}" for row in result["curve"]]
    return "\n".join(rows) + "\n"


def write(out: Path, result: dict[str, Any], model: DequantizedFlow) -> None:
    """Write table, JSON and picture."""
    from pyro_dgm.plotting import image_grid

    out.mkdir(parents=True, exist_ok=True)
    stem = f"mnist_{result['flow'].replace('-', '_')}"
    (out / f"{stem}.txt").write_text(table(result))
    (out / f"{stem}.json").write_text(json.dumps(result, indent=1) + "\n")
    axes = image_grid(model.sample(100, seed=0) / 255, title=None)
    axes.figure.savefig(out / f"{stem}.png", dpi=100, bbox_inches="tight")


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-root", required=True)
    parser.add_argument("--cpu-hours", type=float, default=2.0)
    parser.add_argument("--wall-hours", type=float, default=math.inf)
    parser.add_argument("--flow", choices=FLOWS, default="neural-spline")
    parser.add_argument("--sizes", type=json.loads, default={}, help="other sizes, as JSON")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=5e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    return parser.parse_args()


def main() -> int:
    """Train, score, write."""
    options = arguments()
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    data = mnist(options.data_root)
    x, test = to_levels(data.train), to_levels(data.test)
    x, held_out = x[:-HELD_OUT], x[-HELD_OUT:]
    make, sizes = FLOWS[options.flow]
    sizes = {**sizes, **options.sizes}
    model = DequantizedFlow(make(level_histogram(x), sizes))
    untrained, _ = figures(model, test)
    clock = Clock(3600 * options.cpu_hours, 3600 * options.wall_hours)
    recorder = Recorder(model, held_out, clock, options.run)
    steps = train(model, x, recorder, clock, options)
    seconds, wall = clock.cpu, time.monotonic() - clock.wall_start
    if options.run is not None:
        save(options.run, model, extra={"curve": recorder.curve})
    value, error = figures(model, test)
    result = {
        "flow": options.flow,
        "seed": options.seed,
        "test": value,
        "test_error": error,
        "test_again": figures(model, test, seed=1)[0],
        "untrained": untrained,
        "steps": steps,
        "batch_size": options.batch_size,
        "cpu_seconds": seconds,
        "wall_seconds": wall,
        "lr": options.lr,
        "sizes": sizes,
        "num_parameters": sum(p.numel() for p in model.parameters()),
        "versions": f"Python {platform.python_version()}, torch {torch.__version__}, pyro "
        f"{pyro.__version__}, pyro_dgm {pyro_dgm.__version__}",
        "curve": recorder.curve,
    }
    write(options.out, result, model)
    print(table(result))
    return 0 if value <= BAR and seconds <= 7200 else 1


if __name__ == "__main__":
    sys.exit(main())
