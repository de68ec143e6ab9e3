"""Fit flows to the four energies of Rezende and Mohamed (2015, table 1) by reverse KL, through SVI.

``python -m benchmarks.energies`` prints the KL divergence from the fitted flow to the density, in nats, with
its standard error, for planar flows of 2, 8 and 32 layers and for a spline flow, and writes the table with
the versions under ``benchmarks/results/``. The normalisers are known by quadrature, so that zero is a
perfect fit. The energy is annealed as in the paper.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from pathlib import Path

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import SVI, Trace_ELBO
from torch.distributions import constraints

from pyro_dgm.distributions import Energy
from pyro_dgm.flows import Flow, NeuralSpline, Planar

FLOWS: dict[str, Callable[[], Flow]] = {
    "planar, K = 2": lambda: Planar(2, num_layers=2),
    "planar, K = 8": lambda: Planar(2, num_layers=8),
    "planar, K = 32": lambda: Planar(2, num_layers=32),
    "neural spline, 4 layers": lambda: NeuralSpline(2, num_layers=4, hidden_dims=(64, 64)),
}
RESULTS = Path(__file__).parent / "results" / "energies.md"


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
    return flow


@torch.no_grad()
def divergence(flow: Flow, energy: Energy, draws: int = 50_000) -> tuple[float, float]:
    """The KL divergence from the flow to the density, and its standard error, in nats."""
    z, log_q = flow.eval()().rsample_and_log_prob((draws,))
    terms = log_q - energy.log_prob(z)
    return terms.mean().item(), terms.std().item() / math.sqrt(draws)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--particles", type=int, default=256)
    parser.add_argument("--lr", type=float, default=1e-2)
    parser.add_argument("--seeds", type=int, default=1, help="fits of each flow; the table gives the best")
    args = parser.parse_args()
    torch.set_num_threads(1)
    lines = [
        "# Reverse KL to the energies U1 to U4",
        "",
        f"KL(flow || density) in nats, best of {args.seeds} seeds, with its standard error over 50000 draws. "
        f"{args.steps} steps of {args.particles} particles, annealed; CPU seconds of one fit. "
        f"torch {torch.__version__}, pyro {pyro.__version__}. `python -m benchmarks.energies`.",
        "",
        "| flow | U1 | U2 | U3 | U4 | CPU s |",
        "|---|---|---|---|---|---|",
    ]
    for label, make in FLOWS.items():
        cells, seconds = [], 0.0
        for name in ("U1", "U2", "U3", "U4"):
            found = []
            for seed in range(args.seeds):
                pyro.set_rng_seed(seed)
                pyro.clear_param_store()
                start = time.process_time()
                flow = fitted(make, Energy(name), args.steps, args.particles, args.lr)
                seconds += time.process_time() - start
                found.append(divergence(flow, Energy(name)))
            kl, error = min(found)
            cells.append(f"{kl:.3f} ± {error:.3f}")
            print(label, name, found, flush=True)
        lines.append(f"| {label} | {' | '.join(cells)} | {seconds / 4 / args.seeds:.0f} |")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text("\n".join(lines) + "\n")
    print(RESULTS.read_text())


if __name__ == "__main__":
    main()
