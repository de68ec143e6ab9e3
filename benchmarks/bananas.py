"""Flows in 43 dimensions at equal CPU time: ``python -m benchmarks.bananas --seconds 60``.

The target is a rotated mixture of banana-shaped Gaussians whose density is known, so that the
Kullback-Leibler gap is a paired difference over fresh rows, with its standard error. Each flow trains by
``fit`` for so many CPU seconds of one thread, on 400 000 rows, with a cosine schedule, clipping,
and averaged weights. Continuous flows are scored with the number of steps from which doubling changes
J_ML by less than 1e-3 nats. The first row is a Gaussian with the target's moments.
"""

from __future__ import annotations

import argparse
import math
import platform
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.timed_training import converged_steps, train
from pyro_dgm.distributions import BananaMixture
from pyro_dgm.flows import CNF, FFJORD, MAF, Flow, NeuralSpline, OTFlow, RealNVP

RESULTS = Path(__file__).parent / "results" / "bananas.md"
DIM = 43
WIDE = (128, 128)

FLOWS: dict[str, tuple[Callable[[], Flow], float, float]] = {
    "CNF": (lambda: CNF(DIM, hidden_dims=WIDE, nt_train=4), 5e-3, 0.0),
    "CNF matched, then tuned": (lambda: CNF(DIM, hidden_dims=WIDE, nt_train=4), 5e-3, 0.5),
    "CNF matched": (lambda: CNF(DIM, hidden_dims=WIDE, nt_train=4), 5e-3, 1.0),
    "FFJORD": (lambda: FFJORD(DIM, hidden_dims=WIDE, nt_train=4), 5e-3, 0.0),
    "OT-Flow": (lambda: OTFlow(DIM, width=64, nt_train=4), 1e-2, 0.0),
    "RealNVP": (lambda: RealNVP(DIM), 2e-3, 0.0),
    "MAF": (lambda: MAF(DIM), 2e-3, 0.0),
    "spline coupling": (lambda: NeuralSpline(DIM), 2e-3, 0.0),
}


def gap_line(name: str, log_q: Tensor, log_p: Tensor, steps: int, size: int, nt: str) -> str:
    """One line of the table."""
    difference = log_p - log_q.double()
    error = difference.std() / math.sqrt(len(difference))
    return f"| {name} | {size} | {steps} | {nt} | {difference.mean():.3f} | {error:.3f} |"


@torch.no_grad()
def main() -> int:
    """Train, measure, and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=list(FLOWS))
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    target = BananaMixture(DIM)
    x = target.draw(20_000, torch.Generator().manual_seed(7)).float()
    log_p = target.log_density(x.double())
    pool = target.sample(torch.Size([400_000]))  # beforehand: drawing takes a part of every step

    def draw(n: int) -> Tensor:
        return pool[torch.randint(len(pool), (n,))]

    versions = {name: version(name) for name in ("torch", "pyro-ppl")} | {"machine": platform.machine()}
    moments = torch.distributions.MultivariateNormal(x.double().mean(0), x.double().t().cov())
    lines = [
        f"Rotated mixture of bananas, {DIM} dimensions, `python -m benchmarks.bananas --seconds "
        f"{arguments.seconds:g}`; H(X) = {target.entropy().item():.2f} nats; {versions}",
        "",
        "| flow | parameters | steps | nt | KL gap in nats | SE |",
        "|---" * 6 + "|",
        gap_line("Gaussian", moments.log_prob(x.double()), log_p, 0, DIM * (DIM + 3) // 2, ""),
    ]
    for name in arguments.only:
        make, lr, matching = FLOWS[name]
        torch.manual_seed(arguments.seed)
        flow = make()
        with torch.enable_grad():
            steps = train(
                flow, draw, arguments.seconds, lr=lr, matching=matching, average=0.99, seed=arguments.seed
            )
        nt = ""
        if hasattr(flow, "nt_eval"):
            flow.nt_eval = max(8, converged_steps(flow, x[:500]))
            nt = str(flow.nt_eval)
        log_q = torch.cat([flow().log_prob(rows) for rows in x.split(2000)])
        size = sum(p.numel() for p in flow.parameters())
        lines.append(gap_line(name, log_q, log_p, steps, size, nt))
        print(lines[-1], flush=True)
        arguments.out.write_text("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
