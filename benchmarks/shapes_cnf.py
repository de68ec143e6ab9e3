"""A CNF on shapes with edges and gaps: ``python -m benchmarks.shapes_cnf --seconds 60``.

Eight Gaussians, a checkerboard and a uniform square: J_ML beside the entropy H(X), at the number of steps
from which doubling changes J_ML by less than 1e-3 nats, and one picture of the three densities. A continuous
flow keeps the plane in one piece: what it puts into gaps, and what it loses at edges, is the difference.
"""

from __future__ import annotations

import argparse
import platform
from importlib.metadata import version
from pathlib import Path

import torch

from benchmarks.timed_training import converged_steps, train
from pyro_dgm import data, plotting
from pyro_dgm.flows import CNF

RESULTS = Path(__file__).parent / "results" / "shapes_cnf.md"
NAMES = ("8gaussians", "checkerboard", "uniform-square")


def main() -> int:
    """Train, measure, draw."""
    from matplotlib.figure import Figure

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--matching", type=float, default=0.25, help="share of the time for flow matching")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--picture", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    versions = {name: version(name) for name in ("torch", "pyro-ppl")} | {"machine": platform.machine()}
    lines = [
        f"CNF, `python -m benchmarks.shapes_cnf --seconds {arguments.seconds:g}`; nats; {versions}",
        "",
        "| target | steps | nt | J_ML | SE | H(X) | KL gap |",
        "|---" * 7 + "|",
    ]
    figure = Figure(figsize=(10, 3.9), layout="constrained")
    axes = figure.subplots(1, len(NAMES))
    for name, ax in zip(NAMES, axes, strict=True):
        target = data.load(name)
        torch.manual_seed(0)
        flow = CNF(2)
        steps = train(flow, target.sample, arguments.seconds, lr=5e-3, matching=arguments.matching)
        x = target.sample(50_000, seed=1)
        with torch.no_grad():
            flow.nt_eval = max(16, converged_steps(flow, x[:2000]))
            surprise = -torch.cat([flow().log_prob(rows) for rows in x.split(10_000)]).double()
        j_ml, error = surprise.mean().item(), (surprise.std() / len(x) ** 0.5).item()
        gap = j_ml - target.entropy
        lines.append(
            f"| {name} | {steps} | {flow.nt_eval} | {j_ml:.4f} | {error:.4f} | {target.entropy:.4f} "
            f"| {gap:.4f} |"
        )
        print(lines[-1], flush=True)
        title = f"{name}\nJ_ML {j_ml:.3f}, H(X) {target.entropy:.3f}"
        plotting.density(flow, target.window, num=100, colourbar=False, title=title, ax=ax)
        arguments.out.write_text("\n".join(lines) + "\n")
    if arguments.picture:
        arguments.picture.write_bytes(plotting.png_bytes(figure))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
