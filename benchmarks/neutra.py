"""NUTS in a flow's coordinates against plain NUTS: effective samples per CPU-second, and the tails.

python -m benchmarks.neutra --seconds 10 --samples 800 --seeds 0 1 2
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from statistics import median
from typing import Any

import pyro
import torch
from pyro.ops.stats import effective_sample_size
from scipy.stats import beta
from torch import Tensor

from benchmarks.posterior_models import POSTERIORS, Posterior, Sites
from benchmarks.posteriors import trained
from pyro_dgm.guides import AutoFlow
from pyro_dgm.inference import NutsRun, neutra, nuts

NAMES = ("funnel (10)", "banana (2)", "eight schools, centred", "eight schools, non-centred")
QUANTILES = (0.005, 0.995)
Found = dict[str, dict[str, dict[str, dict[str, Any]]]]  # posterior, seed, sampler, figure
ONE_SIGMA = (0.158655, 0.841345)


def first_coordinate(draws: Sites) -> Tensor:
    """The site that the others hang on: it is the first in each model here."""
    return next(iter(draws.values())).reshape(-1).double()


def quantile_and_error(chains: list[Tensor], q: float) -> tuple[float, float, float]:
    """A quantile of all chains together and the ends of its interval of one standard error.

    The number of effective samples is that of the indicator of being below, whose rate has a beta
    distribution (Vehtari et al., Rank-normalization, folding, and localization, Bayesian Analysis 16, 2021).
    """
    together = torch.cat(chains)
    value = together.quantile(q)
    below = [(chain <= value).double() for chain in chains]
    # A chain that has not been there at all knows nothing of this tail.
    ess = sum(
        effective_sample_size(b[None], chain_dim=0, sample_dim=1).clamp(max=len(b)).item()
        if b.std() > 0
        else 1.0
        for b in below
    )
    low, high = beta.ppf(ONE_SIGMA, ess * q + 1, ess * (1 - q) + 1)
    return value.item(), together.quantile(low).item(), together.quantile(high).item()


def tails(chains: list[Tensor]) -> str:
    shown = [quantile_and_error(chains, q) for q in QUANTILES]
    return ", ".join(f"{value:.1f} [{low:.1f}, {high:.1f}]" for value, low, high in shown)


def one_seed(posterior: Posterior, seconds: float, samples: int, seed: int) -> dict[str, dict[str, Any]]:
    """Both samplers once: the figures of their runs, and the draws of the first coordinate."""
    settings = {"num_samples": samples, "warmup_steps": samples // 2, "seed": seed}
    plain = nuts(posterior.model, **settings)
    start = time.process_time()
    guide, _ = trained(AutoFlow, 1e-2, posterior.model, seconds, seed)
    training = time.process_time() - start
    moved = neutra(posterior.model, guide, **settings)
    return {"NUTS": figures(plain, 0.0), "NeuTra": figures(moved, training)}


def figures(run: NutsRun, training: float) -> dict[str, Any]:
    return {
        "ess": run.effective_samples,
        "seconds": run.cpu_seconds,
        "per_second": run.per_second,
        "with_training": run.effective_samples / (run.cpu_seconds + training),
        "divergences": run.divergences,
        "chain": first_coordinate(run.samples).tolist(),
    }


def rows(name: str, seeds: list[dict[str, dict[str, Any]]], exact: Tensor | None) -> list[str]:
    lines = []
    for kind in ("NUTS", "NeuTra"):
        runs = [seed[kind] for seed in seeds]
        m = {key: median(run[key] for run in runs) for key in runs[0] if key != "chain"}
        ratios = [
            f"{median(ratio):.2g} ({', '.join(f'{r:.2g}' for r in ratio)})"
            for key in ("per_second", "with_training")
            for ratio in [[seed[kind][key] / seed["NUTS"][key] for seed in seeds]]
        ]
        cells = [
            name,
            kind,
            f"{m['ess']:.0f}",
            f"{m['seconds']:.0f} s",
            f"{m['per_second']:.2f}",
            *(ratios if kind == "NeuTra" else ("", "")),
            f"{m['divergences']:.0f}",
            tails([torch.tensor(run["chain"]).double() for run in runs]),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    if exact is not None:
        low, high = exact.quantile(torch.tensor(QUANTILES).double()).tolist()
        lines.append(f"| {name} | exact draws | | | | | | | {low:.1f}, {high:.1f} |")
    return lines


def table(found: Found, seconds: float, samples: int) -> list[str]:
    seeds = max(map(len, found.values()))
    lines = [
        f"Medians of {seeds} seeds: {samples} samples after half as many of warm-up; the guide trained for "
        f"{seconds:g} CPU-seconds. Ratios to plain NUTS in effective samples per CPU-second, each seed's in "
        "brackets. Quantiles of the first coordinate, all seeds together, with their intervals of one "
        f"standard error. torch {torch.__version__}, pyro {pyro.__version__}.",
        "",
        "| posterior | sampler | least ESS | time | ESS/s | ratio | ratio with training | divergences "
        "| 0.5 % and 99.5 % |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name in filter(found.get, NAMES):
        draw = POSTERIORS[name]().exact
        torch.manual_seed(0)
        exact = first_coordinate(draw(400_000)) if draw else None
        lines += rows(name, list(found[name].values()), exact)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="CPU-seconds of training the guide")
    parser.add_argument("--samples", type=int, default=800)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", default=list(NAMES), choices=NAMES)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--runs", type=Path, default=Path("runs/neutra.json"), help="where chains are kept")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.runs.parent.mkdir(parents=True, exist_ok=True)
    options.out.mkdir(parents=True, exist_ok=True)
    found: Found = json.loads(options.runs.read_text()) if options.runs.exists() else {}
    for seed in options.seeds:
        for name in options.only:
            run = one_seed(POSTERIORS[name](), options.seconds, options.samples, seed)
            found.setdefault(name, {})[str(seed)] = run
            options.runs.write_text(json.dumps(found))
            for kind, shown in run.items():
                print(name, kind, seed, {k: v for k, v in shown.items() if k != "chain"}, flush=True)
    lines = table(found, options.seconds, options.samples)
    (options.out / "neutra.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
