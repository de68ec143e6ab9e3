"""Flows in 43 dimensions at equal CPU time: ``python -m benchmarks.bananas --seconds 60``.

The target is a rotated mixture of banana-shaped Gaussians whose density is known, so that the
Kullback-Leibler gap is a paired difference over fresh rows, with its standard error. Each flow trains by
``fit`` for so many CPU seconds of one thread, on fresh rows at each step, with a cosine schedule, clipping,
and averaged weights. Continuous flows are scored with the number of steps from which doubling changes
J_ML by less than 1e-3 nats. The first row is a Gaussian with the target's moments.
"""

from __future__ import annotations

import argparse
import math
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.moons import GrowingBatches
from benchmarks.moons_cnf import converged_steps
from pyro_dgm.distributions import BananaMixture
from pyro_dgm.flows import CNF, FFJORD, MAF, Flow, NeuralSpline, OTFlow, RealNVP
from pyro_dgm.models import NormalizingFlow
from pyro_dgm.objectives import FlowMatching
from pyro_dgm.training import AverageWeights, FitState, fit

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


class Fresh(GrowingBatches):
    """Fresh rows of the target, 256 to 512 a step."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds, 256, 512)
        # Drawn beforehand: drawing in double precision would cost a part of every step.
        self.rows = BananaMixture(DIM).sample(torch.Size([400_000]))
        self.place = 0
        self.start = time.process_time()

    def sample(self, n: int) -> Tensor:
        """Return the next rows."""
        size = int(self.smallest * (self.largest / self.smallest) ** self.done())
        if self.place + size > len(self.rows):
            self.place = 0
        self.place += size
        return self.rows[self.place - size : self.place]


def train(name: str, seconds: float, seed: int) -> tuple[Flow, int]:
    """Train a flow for so many CPU seconds; return it and the number of updates."""
    torch.manual_seed(seed)
    make, lr, matching = FLOWS[name]
    flow, steps = make(), 0
    for objective, share in ((FlowMatching, matching), (NormalizingFlow, 1 - matching)):
        if not share:
            continue
        data = Fresh(share * seconds)

        def stop_in_time(state: FitState, data: Fresh = data) -> None:
            if data.done() >= 1:
                state.stop("CPU time is up")

        def cosine(_: float, data: Fresh = data) -> float:
            return 0.5 * (1 + math.cos(math.pi * data.done()))

        history = fit(
            objective(flow),
            data,
            steps=10**7,
            lr=lr,
            schedule=cosine,
            clip=5.0,
            seed=seed,
            callbacks=[stop_in_time, AverageWeights(0.99)],
            log_every=1000,
            progress=False,
        )
        steps += history.num_steps
    return flow.eval(), steps


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
        with torch.enable_grad():
            flow, steps = train(name, arguments.seconds, arguments.seed)
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
