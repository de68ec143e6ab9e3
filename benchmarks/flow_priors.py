"""Every public flow as the prior of a latent: NUTS, guides and Predictive against quadrature.

python -m benchmarks.flow_priors --samples 1000
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import pyro
import torch

from tests.pyro.flows_of_the_library import FLOWS
from tests.pyro.prior_battery import (
    GUIDES,
    LEAST_GAP,
    MOST,
    MOST_GAP,
    MOST_OF_NUTS,
    double_precision,
    guide_deviation,
    nuts_deviations,
    predictive_deviation,
    truth,
    used_flow,
)


def row(name: str, samples: int) -> tuple[str, bool]:
    """The line of a flow, and whether its figures are within the bars."""
    start = time.process_time()
    flow, data = used_flow(name)
    exact = truth(flow, data)
    predictive = predictive_deviation(flow, exact)
    guides = [guide_deviation(make, lr, steps, flow, data, exact) for make, lr, steps in GUIDES.values()]
    of_mean, of_sd, ess = nuts_deviations(flow, data, exact, samples)
    first, again = (of_mean, of_sd), ""
    if max(first) > MOST_OF_NUTS:
        of_mean, of_sd, _ = nuts_deviations(flow, data, exact, 4 * samples)
        again = f" (then {of_mean:.1f}, {of_sd:.1f})"
    cells = [
        name,
        f"{predictive:.1f}",
        *(f"{deviation:.1f} ({gap:.3f})" for deviation, gap in guides),
        f"{first[0]:.1f}, {first[1]:.1f}{again}",
        f"{ess:.0f}",
        f"{time.process_time() - start:.0f} s",
    ]
    within = (
        max(predictive, *(deviation for deviation, _ in guides)) < MOST
        and all(LEAST_GAP < gap < MOST_GAP for _, gap in guides)
        and max(of_mean, of_sd) < MOST_OF_NUTS
    )
    return f"| {' | '.join(cells)} |", within


def lines_of(path: Path) -> dict[str, str]:
    """The lines of an earlier table, by flow."""
    text = path.read_text() if path.exists() else ""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return {line.split("|")[1].strip(): line for line in lines}


def main() -> int:
    """Run, print, and replace the lines of the flows that were run in the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=1000, help="of NUTS, after 150 of warm-up")
    parser.add_argument("--only", nargs="+", default=list(FLOWS), choices=list(FLOWS), metavar="FLOW")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    path, missed = options.out / "flow_priors.md", []
    head = [
        "A perturbed flow over two numbers (images: four) as the prior of x, and three observations of x "
        "with normal noise of standard deviation 0.5; the truth by quadrature over the flow's latent. All "
        "figures are deviations in standard errors, the largest over the coordinates: the prior's mean by "
        "Predictive (parallel); the evidence by importance sampling from each guide (with the gap of its "
        f"bound, in nats); posterior mean and sd by {options.samples} samples of NUTS (above "
        f"{MOST_OF_NUTS}: then by four times as many). Bars: {MOST} for Predictive and guides, "
        f"{MOST_OF_NUTS} for NUTS, gaps between {LEAST_GAP} and {MOST_GAP}. torch {torch.__version__}, pyro "
        f"{pyro.__version__}.",
        "",
        "| flow | Predictive | AutoNormal | AutoFlow | NUTS: mean, sd | least ESS | CPU |",
        "|---|---|---|---|---|---|---|",
    ]
    with double_precision():
        for name in options.only:
            line, within = row(name, options.samples)
            missed += [] if within else [name]
            print(line, "" if within else "MISSED", flush=True)
            table = lines_of(path) | {name: line}
            path.write_text("\n".join([*head, *(table[flow] for flow in FLOWS if flow in table)]) + "\n")
    print(f"{len(options.only) - len(missed)} of {len(options.only)} within the bars", *missed, sep="; ")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
