"""What continuous flows cost: ``python -m benchmarks.cnf``.

Batch 256, float32, one thread, CPU time, all pieces of a dimension in one interleaved run. A step is
loss, gradient and fused Adam.

* ``CNF``: ours, velocity 64-64 tanh, closed-form trace, 8 RK4 steps, gradients through the steps;
* ``CNF Rademacher``: the same with Hutchinson's estimate;
* ``exact adjoint``: torchdiffeq's ``odeint_adjoint`` over the same network, RK4 with 8 steps, trace by D
  backward passes, as FFJORD reports;
* ``Hutchinson``: torchdiffeq's ``odeint`` over the same network, RK4 with 8 steps, one Rademacher probe, as
  FFJORD trains;
* ``zuko``: zuko's CNF with the same hidden sizes, exact trace, its adaptive solver;
* ``OT-Flow`` and ``published``: ours and the published algorithm (``published_ot_flow.py``), width 32, two
  layers, 4 RK4 steps, both penalties; training and sampling.

Below each dimension: the largest error of ``log_prob`` against 64 steps in float64 at the same weights,
which are those of torch's default initialisation, and the bars. Then the cost of a step up to 512
dimensions. ``--out FILE`` writes the table to a file as well, dimension by dimension: those that are not run
this time keep the lines that they have there, so that it can be made in pieces (``--dims 64 --no-curve``,
or ``--dims`` alone for the cost against the dimension). ``--picture FILE`` draws that cost.
"""

from __future__ import annotations

import argparse
import copy
import os
import platform
import statistics
from pathlib import Path

import pyro
import torch
from torch import Tensor, nn

from benchmarks.cnf_contenders import Reference, nll_step, ot_flow_loss, step_of, used_cnf
from benchmarks.interleaved import interleaved, ratio_line
from benchmarks.published_ot_flow import PublishedOTFlow
from pyro_dgm.flows import Flow, OTFlow
from pyro_dgm.zuko_guard import import_zuko

BATCH = 256
BARS = {2: (0.45, 0.65, 0.30), 16: (0.12, 0.58, 0.20), 43: (0.05, 0.45, 0.12), 64: (0.04, 0.35, 0.10)}
HUTCHINSON_BAR, ERROR_BAR = 0.75, 1e-4


def error_of(flow: Flow, y: Tensor) -> float:
    """The largest error of log_prob against 64 steps in float64."""
    fine = copy.deepcopy(flow).double().eval()
    fine.nt_eval = 64
    with torch.no_grad():
        return (flow().log_prob(y) - fine().log_prob(y.double())).abs().max().item()


def at_dimension(dim: int, rounds: int) -> list[str]:
    """Time everything at one dimension and hold it against the bars."""
    y = torch.randn(BATCH, dim, generator=torch.Generator().manual_seed(1))
    flow, probed, ot_flow = (
        used_cnf(dim),
        used_cnf(dim, trace="rademacher"),
        OTFlow(dim, width=32, nt_train=4),
    )
    exact, estimated = Reference(flow, exact=True), Reference(flow, exact=False)
    published = PublishedOTFlow(dim).copy_weights(ot_flow.potential)
    zuko = import_zuko().flows.CNF(dim, hidden_features=(64, 64), activation=nn.Tanh)
    fast = {
        "CNF": nll_step(flow, y),
        "CNF Rademacher": nll_step(probed, y),
        "Hutchinson": step_of(list(estimated.parameters()), lambda: -estimated.log_prob(y).mean()),
        "OT-Flow": nll_step(ot_flow, y),
        "published": step_of(list(published.parameters()), lambda: published.loss(y, 4, 0.1, 0.5)),
        "OT-Flow sample": lambda: sample_coarsely(ot_flow),
        "published sample": lambda: published.sample(BATCH, 4),
    }
    slow = {
        "CNF": fast["CNF"],
        "exact adjoint": step_of(list(exact.parameters()), lambda: -exact.log_prob(y).mean()),
        "zuko": step_of(list(zuko.parameters()), lambda: -zuko().log_prob(y).mean()),
    }
    seconds = interleaved(fast, rounds=rounds, repeats=5)
    against = interleaved(slow, rounds=max(3, rounds // 3), repeats=1)
    adjoint_bar, train_bar, sample_bar = BARS[dim]
    worth = {**seconds, **{k: v for k, v in against.items() if k != "CNF"}}
    times = ", ".join(f"{name} {1e3 * statistics.median(values):.1f}" for name, values in worth.items())
    errors = {"CNF": error_of(flow, y), "OT-Flow at nt = 4": error_of(ot_flow, y)}
    verdict = "met" if errors["CNF"] <= ERROR_BAR else "MISSED"
    agree = (ot_flow_loss(ot_flow, y) - published.loss(y, 4, 0.1, 0.5)).abs().item()
    return [
        f"d = {dim}, ms of CPU time, median: {times}",
        "  " + ratio_line(against, "CNF", "exact adjoint", adjoint_bar)[0],
        "  " + ratio_line(against, "CNF", "zuko", 1.0)[0],
        "  " + ratio_line(seconds, "CNF", "Hutchinson", HUTCHINSON_BAR)[0],
        "  " + ratio_line(seconds, "OT-Flow", "published", train_bar)[0],
        "  " + ratio_line(seconds, "OT-Flow sample", "published sample", sample_bar)[0],
        f"  largest error of log_prob, nats: CNF {errors['CNF']:.1e}, bar {ERROR_BAR:.0e}: {verdict}; "
        f"OT-Flow at nt = 4 {errors['OT-Flow at nt = 4']:.1e}; "
        f"loss of OT-Flow less the published algorithm's at the same weights {agree:.1e}",
    ]


def sample_coarsely(flow: OTFlow) -> None:
    """Draw with as many steps as the published sampler takes here."""
    flow().sample((BATCH,))


def against_dimension(dims: tuple[int, ...], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of a step by dimension."""
    curves: dict[str, list[float]] = {"CNF": [], "CNF Rademacher": [], "OT-Flow": []}
    for dim in dims:
        y = torch.randn(BATCH, dim)
        work = {
            "CNF": nll_step(used_cnf(dim), y),
            "CNF Rademacher": nll_step(used_cnf(dim, trace="rademacher"), y),
            "OT-Flow": nll_step(OTFlow(dim, width=32, nt_train=4), y),
        }
        for name, values in interleaved(work, rounds=rounds, repeats=2).items():
            curves[name].append(1e3 * statistics.median(values))
    return curves


def draw(dims: tuple[int, ...], curves: dict[str, list[float]], file: Path) -> None:
    """Draw the cost of a step against the dimension."""
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots(figsize=(5, 3.5))
    for name, values in curves.items():
        ax.plot(dims, values, marker="o", label=name)
    ax.set(xscale="log", yscale="log", xlabel="dimension", ylabel="ms of CPU time a step, batch 256")
    ax.legend()
    figure.savefig(file, dpi=120, bbox_inches="tight")


HEAD = f"python -m benchmarks.cnf: batch {BATCH}, one thread, CPU time; "
CURVE = "ms of a step against the dimension"


def kept_blocks(file: Path | None) -> dict[str, list[str]]:
    """The blocks of a table written earlier, by what each line that is not indented begins with."""
    blocks: dict[str, list[str]] = {}
    lines = file.read_text().splitlines()[1:] if file and file.exists() else []
    for line in lines:
        if not line.startswith("  "):
            name = line.split(",")[0]
            blocks[name] = []
        blocks[name].append(line)
    return blocks


def write(file: Path | None, blocks: dict[str, list[str]]) -> None:
    """Write the table, the dimensions in order, the curve last."""
    if file is not None:
        versions = (
            f"torch {torch.__version__}, Python {platform.python_version()}, {platform.machine()}; load "
            f"{os.getloadavg()[1]:.0f}"
        )
        order = sorted(blocks, key=lambda name: (name == CURVE, len(name), name))
        lines = [HEAD + versions, *(line for name in order for line in blocks[name])]
        file.write_text("\n".join(lines) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--dims", type=int, nargs="*", default=list(BARS))
    parser.add_argument("--curve", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--picture", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    blocks, dims, curves = kept_blocks(arguments.out), (2, 8, 32, 128, 512), {}
    with pyro.validation_enabled(False):
        for dim in arguments.dims:
            blocks[f"d = {dim}"] = at_dimension(dim, arguments.rounds)
            print(*blocks[f"d = {dim}"], sep="\n", flush=True)
            write(arguments.out, blocks)
        if arguments.curve:
            curves = against_dimension(dims, max(3, arguments.rounds // 3))
            blocks[CURVE] = [CURVE] + [
                f"  {name}: " + ", ".join(f"d = {d} {v:.1f}" for d, v in zip(dims, values, strict=True))
                for name, values in curves.items()
            ]
            print(*blocks[CURVE], sep="\n", flush=True)
            write(arguments.out, blocks)
    if arguments.picture and curves:
        draw(dims, curves, arguments.picture)
    return int(any("MISSED" in line for block in blocks.values() for line in block))


if __name__ == "__main__":
    raise SystemExit(main())
