"""Two halves of the data in turn, by way of a flow prior, against all data at once.

python -m benchmarks.sequential_posterior --samples 4000
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import MCMC, NUTS
from torch import Tensor

from pyro_dgm.inference import flow_from_samples

Sites = dict[str, Tensor]
Prior = Callable[[], Sites]


def location_and_scale() -> tuple[Prior, Callable[[Sites, Tensor], None], Tensor]:
    def prior() -> Sites:
        loc = pyro.sample("loc", dist.Normal(0.0, 5.0))
        return {"loc": loc, "scale": pyro.sample("scale", dist.HalfNormal(3.0))}

    def likelihood(sites: Sites, rows: Tensor) -> None:
        with pyro.plate("data", len(rows)):
            pyro.sample("x", dist.StudentT(4.0, sites["loc"], sites["scale"]), obs=rows)

    return prior, likelihood, dist.StudentT(4.0, 1.0, 2.0).sample((24,))


def shares() -> tuple[Prior, Callable[[Sites, Tensor], None], Tensor]:
    def prior() -> Sites:
        return {"shares": pyro.sample("shares", dist.Dirichlet(torch.ones(3)))}

    def likelihood(sites: Sites, rows: Tensor) -> None:
        with pyro.plate("data", len(rows)):
            pyro.sample("x", dist.Categorical(sites["shares"]), obs=rows)

    return prior, likelihood, dist.Categorical(torch.tensor([0.6, 0.3, 0.1])).sample((40,))


def regression() -> tuple[Prior, Callable[[Sites, Tensor], None], Tensor]:
    def prior() -> Sites:
        return {"weights": pyro.sample("weights", dist.Normal(torch.zeros(3), 2.0).to_event(1))}

    def likelihood(sites: Sites, rows: Tensor) -> None:
        with pyro.plate("data", len(rows)):
            pyro.sample("y", dist.Bernoulli(logits=rows[:, :3] @ sites["weights"]), obs=rows[:, 3])

    x = torch.randn(60, 3)
    y = torch.bernoulli(torch.sigmoid(x @ torch.tensor([1.0, -2.0, 0.5])))
    return prior, likelihood, torch.cat((x, y[:, None]), 1)


MODELS = {"location and scale": location_and_scale, "shares": shares, "logistic regression": regression}


def sampled(prior: Prior, likelihood: Callable[[Sites, Tensor], None], rows: Tensor, samples: int) -> MCMC:
    mcmc = MCMC(
        NUTS(lambda: likelihood(prior(), rows)),
        num_samples=samples,
        warmup_steps=samples // 4,
        disable_progbar=True,
    )
    mcmc.run()
    return mcmc


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=4000)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines = [
        f"{options.samples} samples of NUTS each; torch {torch.__version__}, pyro {pyro.__version__}. Errors "
        "of the posterior of two halves in turn against that of all data at once.",
        "",
        "| model | largest error of a mean, in posterior sds | sd ratio |",
        "|---|---|---|",
    ]
    for name, make in MODELS.items():
        torch.manual_seed(1)
        prior, likelihood, rows = make()
        whole = sampled(prior, likelihood, rows, options.samples).get_samples()
        first, second = rows[: len(rows) // 2], rows[len(rows) // 2 :]
        between = flow_from_samples(sampled(prior, likelihood, first, options.samples))
        drawn = between.sites(sampled(between, likelihood, second, options.samples).get_samples())
        errors, ratios = [], []
        for site, draws in whole.items():
            sd = draws.std(0)
            errors.append(((drawn[site].mean(0) - draws.mean(0)).abs() / sd).max())
            ratios += (drawn[site].std(0) / sd).reshape(-1).tolist()
        lines.append(f"| {name} | {max(errors):.3f} | {min(ratios):.3f} to {max(ratios):.3f} |")
        print(lines[-1], flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "sequential_posterior.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
