"""How near to the truth continuous flows come in a fixed time: ``python -m benchmarks.moons_cnf``.

Two moons with noise 0.05, fresh rows at each step, ``fit`` for so many CPU seconds of one thread, with a
cosine schedule, clipping and an average of the weights. Every figure belongs to the number of steps from
which doubling changes J_ML by less than 1e-3 nats and the mass by less than 2e-4: the Kullback-Leibler gap
E log p(x) - log q(x) over fresh rows with its standard error, J_ML = H(X) + gap, the mass on a grid, the sum
of path lengths over the sum of chords, and the transport cost.

``--only`` picks runs by name; each run's row is appended to the table as soon as it is there.
"""

from __future__ import annotations

import argparse
import math
import platform
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from benchmarks.moons import gap
from benchmarks.timed_training import converged_steps, train
from pyro_dgm.distributions import TwoMoons
from pyro_dgm.flows import CNF, FFJORD, Flow, OTFlow

RESULTS = Path(__file__).parent / "results" / "moons_cnf.md"
HEAD = (
    "| run | seed | CPU s | steps | nt | KL gap | SE | J_ML | mass | path / chord | transport cost | bar |\n"
    + "|---" * 12
    + "|"
)


@dataclass(frozen=True)
class Run:
    """What is trained, for how long, and what it should reach.

    Attributes:
        make: Makes the flow.
        seconds: CPU seconds of training.
        lr: Largest learning rate.
        matching: The share of the time that is spent on flow matching first.
        clip: Largest norm of the gradient.
        largest: Rows of the last batch; the first has 256.
        control: Whether ``StepControl`` sets the number of steps in training.
        gap: The bar on the KL gap.
        j_ml: The bar on J_ML.
        straight: The bar on path over chord.
    """

    make: Callable[[], Flow]
    seconds: float
    lr: float = 5e-3
    matching: float = 0.0
    clip: float = 5.0
    largest: int = 512
    control: bool = False
    gap: float = math.inf
    j_ml: float = math.inf
    straight: float = math.inf


def ot_flow(width: int = 32, nt: int = 4, transport: float = 0.1, hjb: float = 0.5) -> Callable[[], Flow]:
    """Make an OT-Flow."""
    return lambda: OTFlow(2, width=width, nt_train=nt, transport_weight=transport, hjb_weight=hjb)


def cnf(**options: Any) -> Callable[[], Flow]:
    """Make a CNF whose steps in training are at random times."""
    return lambda: CNF(2, random_steps=True, **options)


RUNS = {
    "CNF controlled": Run(cnf(), 60, largest=256, control=True, gap=0.04),
    "CNF controlled long": Run(cnf(), 180, control=True, gap=0.02),
    "CNF controlled, matched": Run(cnf(), 60, matching=0.25, control=True, gap=0.04),
    "CNF controlled, matched long": Run(cnf(), 180, matching=0.25, control=True, gap=0.02),
    "CNF": Run(lambda: CNF(2), 60, largest=256, gap=0.04),
    "CNF nt 4": Run(lambda: CNF(2, nt_train=4), 60, 1e-2),
    "CNF matched, then tuned long": Run(lambda: CNF(2), 180, matching=0.25, largest=256, gap=0.02),
    "CNF long": Run(lambda: CNF(2), 180, gap=0.02),
    "CNF matched, then tuned": Run(lambda: CNF(2), 60, matching=0.25, gap=0.04),
    "CNF smoothed": Run(lambda: CNF(2, kinetic_weight=0.01, jacobian_weight=0.01), 60, largest=256, gap=0.04),
    "CNF growing batches": Run(lambda: CNF(2), 60),
    "CNF matched": Run(lambda: CNF(2), 60, matching=1.0),
    "FFJORD": Run(lambda: FFJORD(2), 60),
    "OT-Flow": Run(ot_flow(), 180, 2e-2, clip=1.0, j_ml=0.46, straight=1.02),
    "OT-Flow long": Run(ot_flow(), 900, 2e-2, clip=1.0, j_ml=0.38, straight=1.02),
    "OT-Flow w 16": Run(ot_flow(width=16), 60, 2e-2, clip=1.0),
    "OT-Flow w 32": Run(ot_flow(), 60, 2e-2, clip=1.0),
    "OT-Flow w 64": Run(ot_flow(width=64), 60, 2e-2, clip=1.0),
    "OT-Flow nt 3": Run(ot_flow(nt=3), 60, 2e-2, clip=1.0),
    "OT-Flow nt 8": Run(ot_flow(nt=8), 60, 2e-2, clip=1.0),
    "OT-Flow weights / 10": Run(ot_flow(transport=0.01, hjb=0.05), 60, 2e-2, clip=1.0),
    "OT-Flow without penalties": Run(ot_flow(transport=0, hjb=0), 60, 2e-2, clip=1.0),
    "OT-Flow lr 1e-2": Run(ot_flow(), 60, 1e-2, clip=1.0),
    "OT-Flow lr 4e-2": Run(ot_flow(), 60, 4e-2, clip=1.0),
}


def row(name: str, run: Run, seed: int) -> str:
    """Train, measure, and return one line of the table."""
    torch.manual_seed(seed)
    flow, target = run.make(), TwoMoons(0.05)
    steps = train(
        flow,
        lambda n: target.sample(torch.Size([n])),
        run.seconds,
        lr=run.lr,
        matching=run.matching,
        clip=run.clip,
        largest=run.largest,
        control=run.control,
        seed=seed,
    )
    return measured(name, run, seed, flow, steps)


@torch.no_grad()
def measured(name: str, run: Run, seed: int, flow: Flow, steps: int) -> str:
    """The line of a trained flow."""
    flow.nt_eval = max(16, converged_steps(flow, TwoMoons(0.05).sample(torch.Size([2000]))))
    found = settled_mass(flow)
    kl, error = gap(flow, 100_000)
    j_ml = kl + TwoMoons(0.05).entropy().item()
    transform = flow.transform()
    path = transform.path(torch.randn(2000, 2, generator=torch.Generator().manual_seed(0)), 32)
    length = path.diff(dim=0).norm(dim=-1).sum()
    straight = (length / (path[-1] - path[0]).norm(dim=-1).sum()).item()
    cost = 16 * path.diff(dim=0).square().sum(-1).sum(0).mean()  # 1/2 |v|^2 over 32 intervals
    figures = [(kl, run.gap), (j_ml, run.j_ml), (straight, run.straight)]
    bars = [(figure <= bar, bar) for figure, bar in figures if bar < math.inf]
    verdict = ", ".join(f"{bar:g} {'met' if met else 'MISSED'}" for met, bar in bars)
    return (
        f"| {name} | {seed} | {run.seconds:g} | {steps} | {flow.nt_eval} | {kl:.4f} | {error:.4f} | "
        f"{j_ml:.4f} | {found:.5f} | {straight:.4f} | {cost:.3f} | {verdict} |"
    )


def settled_mass(flow: Flow) -> float:
    """The mass, with as many steps as it needs."""
    now = mass(flow)
    while flow.nt_eval < 128:
        flow.nt_eval *= 2
        before, now = now, mass(flow)
        if abs(now - before) < 2e-4:
            break
    return now


def mass(flow: Flow) -> float:
    """The mass on a grid that holds the moons with room to spare."""
    first, second = torch.linspace(-3, 4, 281), torch.linspace(-2.5, 3, 221)
    points = torch.cartesian_prod(first, second)
    density = torch.cat([flow().log_prob(block).double().exp() for block in points.split(20_000)])
    return (density.sum() * (first[1] - first[0]) * (second[1] - second[0])).item()


def main() -> int:
    """Train, measure, and append to the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="*", default=list(RUNS), help="names of runs")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0])
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if not arguments.out.exists():
        versions = {name: version(name) for name in ("torch", "pyro-ppl")} | {"machine": platform.machine()}
        floor = TwoMoons(0.05).entropy().item()
        title = f"Two moons, `python -m benchmarks.moons_cnf`; H(X) = {floor:.4f} nats; {versions}"
        arguments.out.write_text(f"{title}\n\n{HEAD}\n")
    for seed in arguments.seeds:
        for name in arguments.only:
            line = row(name, RUNS[name], seed)
            print(line, flush=True)
            with arguments.out.open("a") as table:
                table.write(line + "\n")
    return int("MISSED" in arguments.out.read_text())


if __name__ == "__main__":
    raise SystemExit(main())
