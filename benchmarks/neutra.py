"""NUTS in a flow's coordinates against plain NUTS: effective samples per CPU-second, and the tails.

python -m benchmarks.neutra --seconds 30 --samples 1000
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import pyro
import torch
from torch import Tensor

from benchmarks.posterior_models import POSTERIORS, Sites
from benchmarks.posteriors import trained
from pyro_dgm.guides import AutoFlow
from pyro_dgm.inference import NutsRun, neutra, nuts

NAMES = ("funnel (10)", "banana (2)", "eight schools, centred", "eight schools, non-centred")
QUANTILES = torch.tensor([0.005, 0.995])


def first_coordinate(draws: Sites) -> Tensor:
    """The site that the others hang on: it is the first in each model here."""
    return next(iter(draws.values())).reshape(-1).double()


def tails(draws: Sites) -> str:
    low, high = first_coordinate(draws).quantile(QUANTILES.double()).tolist()
    return f"{low:.2f}, {high:.2f}"


def row(name: str, kind: str, run: NutsRun, training: float) -> str:
    cells = [
        name,
        kind,
        f"{run.effective_samples:.0f}",
        f"{run.cpu_seconds:.0f} s",
        f"{run.per_second:.2f}",
        f"{run.effective_samples / (run.cpu_seconds + training):.2f}",
        str(run.divergences),
        tails(run.samples),
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=30.0, help="CPU-seconds of training the guide")
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--only", default="", help="posteriors whose name contains this")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines = [
        f"{options.samples} samples after half as many of warm-up; the guide trained for {options.seconds:g} "
        f"CPU-seconds. torch {torch.__version__}, pyro {pyro.__version__}.",
        "",
        "| posterior | sampler | least ESS | time | ESS/s | with training | divergences | 0.5 % and 99.5 % |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in NAMES:
        if options.only not in name:
            continue
        posterior = POSTERIORS[name]()
        settings = {"num_samples": options.samples, "warmup_steps": options.samples // 2, "seed": 0}
        plain = nuts(posterior.model, **settings)
        start = time.process_time()
        guide, _ = trained(
            lambda model: AutoFlow(model, stick_the_landing=True), 5e-3, posterior.model, options.seconds, 0
        )
        training = time.process_time() - start
        moved = neutra(posterior.model, guide, **settings)
        lines += [row(name, "NUTS", plain, 0.0), row(name, "NeuTra", moved, training)]
        if posterior.exact is not None:
            lines.append(f"| {name} | exact draws | | | | | | {tails(posterior.exact(200_000))} |")
        print("\n".join(lines[-3:]), flush=True)
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "neutra.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
