"""What continuous flows reach on two moons in how much time: ``python -m benchmarks.cnf_frontier``.

Two moons with noise 0.05, fresh rows at each step, as in ``benchmarks.moons_cnf``: J_ML at the number of
steps from which doubling changes it by less than 1e-3 nats, its gap to the entropy (paired, with standard
error) and the transport cost, after so many CPU seconds of one thread, over width, number of steps in
training, weights of the penalties, and optimiser. Each point is a training of its
own, since its learning rate falls to zero at its end. ``--seconds`` gives the times, ``--only`` picks
settings by name; each point is appended to the table as soon as it is there, and ``--picture FILE`` draws
all that the table holds.
"""

from __future__ import annotations

import argparse
import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch.optim import SGD, Optimizer, RMSprop

from benchmarks.moons import gap
from benchmarks.timed_training import converged_steps, train
from pyro_dgm.distributions import TwoMoons
from pyro_dgm.flows import CNF, Flow, OTFlow

RESULTS = Path(__file__).parent / "results" / "cnf_frontier.md"
COLUMNS = ("setting", "seed", "CPU s", "updates", "nt in training", "nt", "J_ML", "gap", "SE", "transport")


@dataclass(frozen=True)
class Setting:
    """One way to train.

    Attributes:
        kind: Makes the flow from its options.
        options: What differs from the default.
        lr: Largest learning rate.
        clip: Largest norm of the gradient.
        control: Whether ``StepControl`` sets the number of steps in training.
        matching: The share of the time that is spent on flow matching first.
        optimizer: Another optimiser than fused Adam.
    """

    kind: type[Flow]
    options: dict[str, Any]
    lr: float
    clip: float
    control: bool = False
    matching: float = 0.0
    optimizer: type[Optimizer] | None = None


def cnf(
    *,
    lr: float = 5e-3,
    control: bool = True,
    matching: float = 0.0,
    optimizer: type[Optimizer] | None = None,
    **options: Any,
) -> Setting:
    """A CNF with steps at random times."""
    return Setting(CNF, {"random_steps": True, **options}, lr, 5.0, control, matching, optimizer)


def ot_flow(*, lr: float = 2e-2, control: bool = False, **options: Any) -> Setting:
    """An OT-Flow."""
    return Setting(OTFlow, options, lr, 1.0, control)


SETTINGS = {
    "CNF": cnf(),
    "CNF, nt 8": cnf(control=False),
    "CNF, nt 8 equal": cnf(control=False, random_steps=False),
    "CNF, width 32": cnf(hidden_dims=(32, 32)),
    "CNF, width 128": cnf(hidden_dims=(128, 128)),
    "CNF, lr 1e-2": cnf(lr=1e-2),
    "CNF, kinetic 0.01": cnf(kinetic_weight=0.01),
    "CNF, matched first": cnf(matching=0.25),
    "CNF, RMSprop": cnf(optimizer=RMSprop),
    "CNF, SGD lr 5e-2": cnf(optimizer=SGD, lr=5e-2),
    "OT-Flow": ot_flow(),
    "OT-Flow, controlled": ot_flow(control=True, random_steps=True),
    "OT-Flow, width 16": ot_flow(width=16),
    "OT-Flow, width 64": ot_flow(width=64),
    "OT-Flow, nt 2": ot_flow(nt_train=2),
    "OT-Flow, nt 8": ot_flow(nt_train=8),
    "OT-Flow, weights / 10": ot_flow(transport_weight=0.01, hjb_weight=0.05),
    "OT-Flow, no penalties": ot_flow(transport_weight=0, hjb_weight=0),
    "OT-Flow, lr 1e-2": ot_flow(lr=1e-2),
}


def point(name: str, seconds: float, seed: int) -> str:
    """Train, measure, and return one line of the table."""
    setting, target = SETTINGS[name], TwoMoons(0.05)
    torch.manual_seed(seed)
    flow = setting.kind(2, **setting.options)
    updates = train(
        flow,
        lambda n: target.sample(torch.Size([n])),
        seconds,
        lr=setting.lr,
        matching=setting.matching,
        clip=setting.clip,
        control=setting.control,
        optimizer=setting.optimizer,
        seed=seed,
    )
    trained = flow.nt_train
    with torch.no_grad():
        flow.nt_eval = max(16, converged_steps(flow, target.sample(torch.Size([2000]))))
        kl, error = gap(flow, 50_000)
        path = flow.transform().path(torch.randn(2000, 2, generator=torch.Generator().manual_seed(0)), 32)
    cost = 16 * path.diff(dim=0).square().sum(-1).sum(0).mean()  # 1/2 |v|^2 over 32 intervals
    figures = (f"{kl + target.entropy().item():.4f}", f"{kl:.4f}", f"{error:.4f}", f"{cost:.3f}")
    cells = (name, seed, f"{seconds:g}", updates, trained, flow.nt_eval, *figures)
    return f"| {' | '.join(map(str, cells))} |"


def draw(table: Path, picture: Path) -> None:
    """Draw J_ML less the entropy against the time, one line a setting."""
    from matplotlib.figure import Figure

    from pyro_dgm import plotting

    curves: dict[str, list[tuple[float, float]]] = {}
    for line in table.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0] in SETTINGS:
            curves.setdefault(cells[0], []).append((float(cells[2]), float(cells[7])))
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    seconds = sorted({time for points in curves.values() for time, _ in points})
    marks = "osD^v<>phXd*"
    for ax, kind in zip(figure.subplots(1, 2, sharey=True), ("CNF", "OT-Flow"), strict=True):
        chosen = [name for name in curves if name.startswith(kind)]
        for name, mark in zip(chosen, marks, strict=False):
            ax.plot(*zip(*sorted(curves[name]), strict=True), marker=mark, label=name)
        ax.set(xscale="log", yscale="log", xlabel="CPU seconds", ylabel="J_ML - H(X), nats", title=kind)
        ax.set_xticks(seconds, [f"{time:g}" for time in seconds])
        ax.xaxis.minorticks_off()
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_minor_formatter("{x:g}")
        ax.legend(fontsize=7)
    picture.write_bytes(plotting.png_bytes(figure))


def main() -> int:
    """Train, measure, append to the table, draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="*", default=list(SETTINGS), help="names of settings")
    parser.add_argument("--seconds", type=float, nargs="*", default=[20.0, 60.0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--picture", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if not arguments.out.exists():
        versions = {name: version(name) for name in ("torch", "pyro-ppl")} | {"machine": platform.machine()}
        floor = TwoMoons(0.05).entropy().item()
        title = f"Two moons, `python -m benchmarks.cnf_frontier`; H(X) = {floor:.4f} nats; {versions}"
        arguments.out.write_text(f"{title}\n\n| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|\n")
    for seconds in arguments.seconds:
        for name in arguments.only:
            line = point(name, seconds, arguments.seed)
            print(line, flush=True)
            with arguments.out.open("a") as table:
                table.write(line + "\n")
    if arguments.picture:
        draw(arguments.out, arguments.picture)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
