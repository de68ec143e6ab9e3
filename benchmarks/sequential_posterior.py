"""Two halves of the data in turn, by way of a flow prior, against the exact posterior of all data.

python -m benchmarks.sequential_posterior --samples 4000
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from pyro_dgm.inference import NutsRun, flow_from_samples, nuts

Sites = dict[str, Tensor]


class Study(NamedTuple):
    """A prior, what the sites say of the data, the data, and weighted points of the exact posterior.

    ``observe`` gives the distribution of the data, of batch shape ``(*draws, n)``, and their values.
    ``points`` are the nodes of a quadrature, or exact draws.
    """

    prior: Callable[[], Sites]
    observe: Callable[[Sites, Tensor], tuple[dist.TorchDistribution, Tensor]]
    rows: Tensor
    points: Callable[[Tensor], tuple[Sites, Tensor]]

    def model(self, prior: Callable[[], Sites], rows: Tensor) -> None:
        """The Pyro model of some of the rows."""
        likelihood, values = self.observe(prior(), rows)
        with pyro.plate("data", len(rows)):
            pyro.sample("x", likelihood, obs=values)

    def log_likelihood(self, sites: Sites, rows: Tensor) -> Tensor:
        """Of each draw, over some of the rows."""
        likelihood, values = self.observe(sites, rows)
        return likelihood.log_prob(values).double().sum(-1)


def location_and_scale() -> Study:
    def prior() -> Sites:
        loc = pyro.sample("loc", dist.Normal(0.0, 5.0))
        return {"loc": loc, "scale": pyro.sample("scale", dist.HalfNormal(3.0))}

    def observe(sites: Sites, rows: Tensor) -> tuple[dist.TorchDistribution, Tensor]:
        return dist.StudentT(4.0, sites["loc"][..., None], sites["scale"][..., None]), rows

    def points(rows: Tensor) -> tuple[Sites, Tensor]:
        axes = torch.linspace(-4, 6, 401).double(), torch.linspace(-2, 3, 401).double()
        loc, log_scale = torch.cartesian_prod(*axes).T
        sites = {"loc": loc, "scale": log_scale.exp()}
        log_prior = dist.Normal(0.0, 5.0).log_prob(loc) + dist.HalfNormal(3.0).log_prob(log_scale.exp())
        log_likelihood = observe(sites, rows)[0].log_prob(rows).sum(-1)
        return sites, (log_prior + log_scale + log_likelihood).softmax(0)

    return Study(prior, observe, dist.StudentT(4.0, 1.0, 2.0).sample((24,)), points)


def shares(first: tuple[int, int, int], second: tuple[int, int, int]) -> Study:
    def prior() -> Sites:
        return {"shares": pyro.sample("shares", dist.Dirichlet(torch.ones(3)))}

    def observe(sites: Sites, rows: Tensor) -> tuple[dist.TorchDistribution, Tensor]:
        return dist.Categorical(sites["shares"][..., None, :]), rows

    def points(rows: Tensor) -> tuple[Sites, Tensor]:
        posterior = dist.Dirichlet(1 + torch.bincount(rows, minlength=3).double())
        return {"shares": posterior.sample((1_000_000,))}, torch.full((1_000_000,), 1e-6).double()

    halves = [torch.arange(3).repeat_interleave(torch.tensor(counts)) for counts in (first, second)]
    return Study(prior, observe, torch.cat(halves), points)


def regression() -> Study:
    def prior() -> Sites:
        return {"weights": pyro.sample("weights", dist.Normal(torch.zeros(3), 2.0).to_event(1))}

    def observe(sites: Sites, rows: Tensor) -> tuple[dist.TorchDistribution, Tensor]:
        return dist.Bernoulli(logits=sites["weights"] @ rows[:, :3].mT), rows[:, 3]

    def points(rows: Tensor) -> tuple[Sites, Tensor]:
        weights = torch.cartesian_prod(*[torch.linspace(-7, 7, 71)] * 3)
        log_prior = dist.Normal(0.0, 2.0).log_prob(weights).double().sum(-1)
        likelihood, values = observe({"weights": weights}, rows)
        log_p = log_prior + likelihood.log_prob(values).double().sum(-1)
        return {"weights": weights.double()}, log_p.softmax(0)

    x = torch.randn(60, 3)
    y = torch.bernoulli(torch.sigmoid(x @ torch.tensor([1.0, -2.0, 0.5])))
    return Study(prior, observe, torch.cat((x, y[:, None]), 1), points)


STUDIES = {
    "location and scale": location_and_scale,
    "shares": lambda: shares((12, 6, 2), (12, 6, 2)),
    "logistic regression": regression,
    # The first half has never seen the third kind, of which the second is full.
    "shares, halves at odds": lambda: shares((16, 4, 0), (9, 5, 6)),
}


def moments(sites: Sites, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
    flat = torch.cat([sites[name].double().reshape(len(sites[name]), -1) for name in sorted(sites)], 1)
    weights = torch.full((len(flat),), 1 / len(flat)).double() if weights is None else weights
    mean = weights @ flat
    return mean, (weights @ (flat - mean).square()).sqrt()


def deviation(found: tuple[Tensor, Tensor], exact: tuple[Tensor, Tensor]) -> tuple[str, str]:
    """The largest error of a mean, in posterior sds, and the ratios of the sds."""
    (mean, sd), (true_mean, true_sd) = found, exact
    ratio = sd / true_sd
    error = ((mean - true_mean).abs() / true_sd).max()
    return f"{error:.3f}", f"{ratio.min():.3f} to {ratio.max():.3f}"


def run(study: Study, samples: int, seed: int) -> list[str]:
    """Cells of a row: the way through the flow by NUTS, by weights, and without a flow by weights."""
    first, second = study.rows[: len(study.rows) // 2], study.rows[len(study.rows) // 2 :]
    exact = moments(*study.points(study.rows))
    settings = {"num_samples": samples, "warmup_steps": samples // 4, "seed": seed}
    before: NutsRun = nuts(lambda: study.model(study.prior, first), **settings)
    supports = {"scale": dist.constraints.positive, "shares": dist.constraints.simplex}
    known = {name: support for name, support in supports.items() if name in before.samples}
    between = flow_from_samples(before.samples, supports=known, seed=seed)
    after = nuts(lambda: study.model(between, second), **settings)
    drawn = between.sample(200_000)
    noise = math.sqrt(1 / before.effective_samples + 1 / after.effective_samples)
    return [
        *deviation(moments(between.sites(after.samples)), exact),
        *deviation(moments(drawn, study.log_likelihood(drawn, second).softmax(0)), exact),
        *deviation(moments(before.samples, study.log_likelihood(before.samples, second).softmax(0)), exact),
        f"{noise:.3f}",
        str(samples),
    ]


def table(rows: dict[str, list[str]]) -> str:
    lines = [
        "Errors against the exact posterior of all data: the largest of a mean, in posterior standard "
        "deviations, and the ratios of the deviations. First as one would do it; then with 200 000 draws of "
        "the flow, weighted by the second half, in place of the second NUTS; then with the samples of the "
        "first NUTS so weighted, without a flow. Noise: what the two runs of NUTS alone leave of a mean, one "
        "standard error. Samples: those of each run of NUTS. "
        f"torch {torch.__version__}, pyro {pyro.__version__}.",
        "",
        "| model | NUTS, flow, NUTS | sds | flow, weights | sds | no flow, weights | sds | noise | samples |",
        "|---|---|---|---|---|---|---|---|---|",
        *(f"| {' | '.join([name, *rows[name]])} |" for name in STUDIES if name in rows),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", default=list(STUDIES), choices=list(STUDIES))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--rows", type=Path, default=Path("runs/sequential_posterior.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    options.rows.parent.mkdir(parents=True, exist_ok=True)
    rows: dict[str, list[str]] = json.loads(options.rows.read_text()) if options.rows.exists() else {}
    for name in options.only:
        torch.manual_seed(1)
        rows[name] = run(STUDIES[name](), options.samples, options.seed)
        print(name, *rows[name], flush=True)
        options.rows.write_text(json.dumps(rows))
        (options.out / "sequential_posterior.md").write_text(table(rows))


if __name__ == "__main__":
    main()
