"""Every public flow as the prior of a latent: NUTS, guides and Predictive against quadrature.

python -m benchmarks.flow_priors --samples 1000
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import pyro
import torch

from tests.pyro.flows_of_the_library import FLOWS
from tests.pyro.prior_battery import (
    GUIDES,
    double_precision,
    guide_deviation,
    nuts_deviations,
    predictive_deviation,
    truth,
    used_flow,
)


def row(name: str, samples: int) -> str:
    start = time.process_time()
    flow, data = used_flow(name)
    exact = truth(flow, data)
    predictive = predictive_deviation(flow, exact)
    guides = [guide_deviation(make, lr, steps, flow, data, exact) for make, lr, steps in GUIDES.values()]
    of_mean, of_sd, ess = nuts_deviations(flow, data, exact, samples)
    again = ""
    if max(of_mean, of_sd) > 3:
        again = (
            f" (then {', '.join(f'{d:.1f}' for d in nuts_deviations(flow, data, exact, 4 * samples)[:2])})"
        )
    cells = [
        name,
        f"{predictive:.1f}",
        *(f"{deviation:.1f} ({gap:.3f})" for deviation, gap in guides),
        f"{of_mean:.1f}, {of_sd:.1f}{again}",
        f"{ess:.0f}",
        f"{time.process_time() - start:.0f} s",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=1000, help="of NUTS, after 150 of warm-up")
    parser.add_argument("--only", nargs="+", default=list(FLOWS), choices=list(FLOWS), metavar="FLOW")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines = [
        "A perturbed flow over two numbers (images: four) as the prior of x, and three observations of x "
        "with normal noise of standard deviation 0.5; the truth by quadrature over the flow's latent. All "
        "figures are deviations in standard errors, the largest over the coordinates: the prior's mean by "
        "Predictive (parallel); the evidence by importance sampling from each guide (with the gap of its "
        f"bound, in nats); posterior mean and sd by {options.samples} samples of NUTS (above 3: then by "
        f"four times as many). torch {torch.__version__}, pyro {pyro.__version__}.",
        "",
        "| flow | Predictive | AutoNormal | AutoFlow | NUTS: mean, sd | least ESS | CPU |",
        "|---|---|---|---|---|---|---|",
    ]
    options.out.mkdir(parents=True, exist_ok=True)
    with double_precision():
        for name in options.only:
            lines.append(row(name, options.samples))
            print(lines[-1], flush=True)
            (options.out / "flow_priors.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
