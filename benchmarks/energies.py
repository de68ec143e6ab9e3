"""Fit flows to the four energies of Rezende and Mohamed (2015, table 1) by reverse KL, through SVI.

``python -m benchmarks.energies`` prints the KL divergence from the fitted flow to the density, in nats, for
planar flows of 2, 8 and 32 layers and for two more flexible flows, over three seeds, and writes the table,
the figures and a picture of the densities under ``benchmarks/results/``. The normalisers are known by
quadrature, so that zero is a perfect fit. The energy is annealed as in the paper.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import SVI, Trace_ELBO
from torch.distributions import constraints

from pyro_dgm.distributions import Energy
from pyro_dgm.flows import Flow, NeuralSpline, Planar, RealNVP

ENERGIES = ("U1", "U2", "U3", "U4")
# By name: what makes the flow, and the learning rate.
FLOWS: dict[str, tuple[Callable[[], Flow], float]] = {
    "planar, K = 2": (lambda: Planar(2, num_layers=2), 1e-2),
    "planar, K = 8": (lambda: Planar(2, num_layers=8), 1e-2),
    "planar, K = 32": (lambda: Planar(2, num_layers=32), 1e-2),
    "RealNVP, 8 layers": (lambda: RealNVP(2, num_layers=8, hidden_dims=(64, 64)), 5e-3),
    "neural spline, 6 layers": (lambda: NeuralSpline(2, hidden_dims=(64, 64), affine=True), 5e-3),
}
RESULTS = Path(__file__).parent / "results"
Runs = list[dict[str, Any]]


def fitted(make: Callable[[], Flow], energy: Energy, steps: int, particles: int, lr: float) -> Flow:
    """Fit a flow by SVI with the annealed energy as a factor and the flow as the guide."""
    flow, weight = make(), [0.01]

    def model() -> None:
        z = pyro.sample("z", dist.ImproperUniform(constraints.real_vector, (), (2,)))
        pyro.factor("energy", -weight[0] * energy.energy(z))

    def guide() -> None:
        pyro.sample("z", flow())

    decay = 0.02 ** (1 / steps)
    optimiser = pyro.optim.ClippedAdam({"lr": lr, "lrd": decay})
    svi = SVI(model, guide, optimiser, Trace_ELBO(num_particles=particles, vectorize_particles=True))
    for step in range(steps):
        weight[0] = min(1.0, 0.01 + 2 * step / steps)
        svi.step()
    return flow.eval()


@torch.no_grad()
def divergence(flow: Flow, energy: Energy, draws: int = 50_000) -> tuple[float, float]:
    """The KL divergence from the flow to the density, and its standard error, in nats."""
    z, log_q = flow().rsample_and_log_prob((draws,))
    terms = log_q - energy.log_prob(z)
    return terms.mean().item(), terms.std().item() / math.sqrt(draws)


def found(runs: Runs, flow: str, energy: str) -> list[float]:
    """The divergences of one flow from one energy, by seed."""
    return [run["kl"] for run in runs if (run["flow"], run["energy"]) == (flow, energy)]


def table(runs: Runs, head: str) -> str:
    """A line for each flow: the mean over seeds, and each."""
    lines = [
        f"# Reverse KL to the energies U1 to U4\n\n{head}\n",
        f"| flow | {' | '.join(ENERGIES)} | CPU s |",
    ]
    lines.append("|---" * 6 + "|")
    for flow in [flow for flow in FLOWS if any(run["flow"] == flow for run in runs)]:
        cells = []
        for energy in ENERGIES:
            values = found(runs, flow, energy)
            each = ", ".join(f"{v:.3f}" for v in values)
            cells.append(f"**{sum(values) / len(values):.3f}** ({each})" if values else "")
        seconds = [run["seconds"] for run in runs if run["flow"] == flow]
        lines.append(f"| {flow} | {' | '.join(cells)} | {sum(seconds) / len(seconds):.0f} |")
    planar = [[found(runs, f"planar, K = {k}", energy) for k in (2, 8, 32)] for energy in ENERGIES]
    if all(values for row in planar for values in row):
        falls = all(max(row[i + 1]) < min(row[i]) for row in planar for i in (0, 1))
        lines += ["", f"The KL falls with K on every energy, each seed below all of the K before: {falls}."]
    return "\n".join(lines) + "\n"


def picture(flows: dict[str, dict[str, Flow]], path: Path) -> None:
    """The densities: a column for each energy, the exact ones above, one row for each flow."""
    import matplotlib.pyplot as plt

    from pyro_dgm.plotting.density import density, density_grid

    window = ((-5.5, 5.5), (-4.5, 4.5))
    figure, axes = plt.subplots(1 + len(flows), 4, figsize=(9, 1.85 * (1 + len(flows))), squeeze=False)
    for column, name in enumerate(ENERGIES):
        peak = density_grid(Energy(name), window).max().item()
        density(Energy(name), window, peak=peak, colourbar=False, title=name, ax=axes[0, column])
        for row, (label, of_energies) in enumerate(flows.items(), 1):
            if name in of_energies:
                flow = of_energies[name]
                density(flow, window, peak=peak, colourbar=False, title=label, ax=axes[row, column])
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[], xlabel="", ylabel="")
        ax.title.set_fontsize(8)
    figure.tight_layout()
    figure.savefig(path, dpi=80)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--particles", type=int, default=256)
    parser.add_argument("--seeds", type=int, default=3, help="fits of each flow to each energy")
    parser.add_argument("--only", default="", help="fit the flows whose name holds this")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of table, figures and picture")
    args = parser.parse_args()
    torch.set_num_threads(1)
    head = (
        f"KL(flow, density) in nats: **the mean** and each of {args.seeds} seeds, each with a standard error "
        f"below 0.02. {args.steps} steps of {args.particles} particles, annealed; CPU seconds of one fit. "
        f"torch {torch.__version__}, pyro {pyro.__version__}. `python -m benchmarks.energies`."
    )
    runs: Runs = []
    pictured: dict[str, dict[str, Flow]] = {}
    for seed in range(args.seeds):
        for label, (make, lr) in FLOWS.items():
            for name in ENERGIES if args.only in label else ():
                pyro.set_rng_seed(seed)
                pyro.clear_param_store()
                start = time.process_time()
                flow = fitted(make, Energy(name), args.steps, args.particles, lr)
                kl, error = divergence(flow, Energy(name))
                run = {"flow": label, "energy": name, "seed": seed, "kl": kl, "error": error}
                runs.append(run | {"seconds": round(time.process_time() - start, 1)})
                print(runs[-1], flush=True)
                if seed == 0:
                    pictured.setdefault(label, {})[name] = flow
            (args.out / "energies.md").write_text(table(runs, head))
            (args.out / "energies.json").write_text(json.dumps(runs, indent=1) + "\n")
        if seed == 0:
            picture(pictured, args.out / "energies.png")
    print(table(runs, head))


if __name__ == "__main__":
    main()
