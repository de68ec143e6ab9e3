"""AutoFlow against Pyro's guides on known posteriors: ELBO, k-hat and errors at equal CPU time.

Each run is recorded as it ends; runs for other posteriors, guides or seeds are added to those on record.

python -m benchmarks.posteriors --seconds 8 --seeds 0 1 2
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import mean, pstdev
from typing import Any

import pyro
import torch
from pyro.infer import Trace_ELBO
from pyro.infer.autoguide import AutoIAFNormal, AutoMultivariateNormal, AutoNormal

from benchmarks.posterior_models import POSTERIORS, Posterior, Sites
from pyro_dgm.diagnostics import psis
from pyro_dgm.guides import AutoFlow
from pyro_dgm.inference import importance_draws, nuts
from pyro_dgm.naming import unregistered

Model = Callable[[], object]
Run = dict[str, Any]
Record = dict[str, Any]  # runs by posterior, guide and seed; moments of the posteriors; the settings
GUIDES: dict[str, tuple[Callable[[Model], Any], float]] = {
    "AutoFlow": (AutoFlow, 1e-2),
    "AutoNormal": (AutoNormal, 2e-2),
    "AutoMultivariateNormal": (AutoMultivariateNormal, 2e-2),
    "AutoIAFNormal": (lambda model: AutoIAFNormal(model, num_transforms=3, hidden_dim=[64]), 5e-3),
}
PARTICLES = 64


def trained(
    make: Callable[[Model], Any], lr: float, model: Model, seconds: float, seed: int
) -> tuple[Any, int]:
    """A guide after ``seconds`` of CPU time, its rate falling to zero as a cosine; and its steps."""
    torch.manual_seed(seed)
    pyro.clear_param_store()
    guide = make(model)
    guide()
    elbo = Trace_ELBO(PARTICLES, vectorize_particles=True)
    parameters = list(guide.parameters())
    optimizer = torch.optim.Adam(parameters, lr=lr, fused=True)
    start, steps = time.process_time(), 0
    while (done := (time.process_time() - start) / seconds) < 1:
        for group in optimizer.param_groups:
            group["lr"] = lr * 0.5 * (1 + math.cos(math.pi * done))
        with unregistered(), pyro.validation_enabled(False):
            loss = elbo.differentiable_loss(model, guide)
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(parameters, 10.0)
        if norm.isfinite():
            optimizer.step()
        steps += 1
    return guide, steps


def reference(posterior: Posterior, samples: int) -> dict[str, Any]:
    """Moments of the posterior: of exact draws, or of long NUTS."""
    torch.manual_seed(0)
    if posterior.exact is not None:
        mean, sd = moments(posterior.exact(400_000), posterior.light)
        return {"mean": mean, "sd": sd, "by": "400 000 exact draws"}
    kernel = {"target_accept_prob": 0.9, "max_tree_depth": 7}
    run = nuts(posterior.model, num_samples=samples, warmup_steps=samples // 4, seed=0, kernel_options=kernel)
    mean, sd = moments(run.samples, posterior.light)
    return {"mean": mean, "sd": sd, "by": f"NUTS, {samples} samples, least ESS {run.effective_samples:.0f}"}


def moments(draws: Sites, sites: tuple[str, ...] = ()) -> tuple[list[float], list[float]]:
    """Means and standard deviations of all entries of the sites, in their order by name."""
    chosen = sorted(sites or draws)
    flat = torch.cat([draws[name].reshape(len(draws[name]), -1) for name in chosen], 1).double()
    return flat.mean(0).tolist(), flat.std(0).tolist()


def assess(guide: Any, posterior: Posterior) -> Run:
    """What the guide is worth, from 20 000 draws."""
    torch.manual_seed(99)
    with pyro.validation_enabled(False):
        drawn = importance_draws(posterior.model, guide, num_samples=20_000, chunk=4000)
    mean, sd = moments(drawn.samples, posterior.light)
    error = drawn.log_weights.std().item() / math.sqrt(len(drawn.log_weights))
    return {"elbo": drawn.elbo, "error": error, "k": psis(drawn.log_weights).k.item(), "mean": mean, "sd": sd}


def elbo_and_error(runs: list[Run]) -> tuple[float, float]:
    """The mean over the seeds and its standard error: from seed to seed, and of each estimate."""
    elbos = [run["elbo"] for run in runs]
    spread = pstdev(elbos) ** 2 / max(1, len(runs) - 1)
    return mean(elbos), math.sqrt(spread + mean(run["error"] ** 2 for run in runs) / len(runs))


def cells(runs: list[Run], exact: dict[str, Any] | None) -> list[str]:
    """ELBO, k-hat, error of means and ratio of sds over the seeds; and the steps."""
    elbo, error = elbo_and_error(runs)
    ks = [run["k"] for run in runs]
    shown = [f"{elbo:.3f} ± {error:.3f}", f"{mean(ks):.2f} ({max(ks):.2f})"]
    if exact is None:
        return [*shown, "", "", f"{mean(run['steps'] for run in runs):.0f}"]
    truth, sd = torch.tensor(exact["mean"]), torch.tensor(exact["sd"])
    off = [((torch.tensor(run["mean"]) - truth).abs() / sd).max().item() for run in runs]
    ratios = torch.stack([torch.tensor(run["sd"]) / sd for run in runs])
    return [
        *shown,
        f"{mean(off):.2f}",
        f"{ratios.min():.2f} to {ratios.max():.2f}",
        f"{mean(run['steps'] for run in runs):.0f}",
    ]


def table(record: Record) -> str:
    seeds = {len(by_seed) for guides in record["runs"].values() for by_seed in guides.values()}
    lines = [
        f"Seeds: {' or '.join(map(str, sorted(seeds)))}. Means over them after {record['seconds']:g} "
        f"CPU-seconds of training each, {PARTICLES} draws a step. ELBO: with its standard error, from seed "
        "to seed and of each estimate. k-hat: with the worst in brackets. Mean error: the largest over all "
        "coordinates, in posterior standard deviations; sd: least and largest ratio to the posterior's; for "
        f"the funnel those of its neck alone. torch {torch.__version__}, pyro {pyro.__version__}.",
        "",
        "| posterior | guide | ELBO (nats) | k-hat | mean error | sd ratio | steps |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in filter(record["runs"].get, POSTERIORS):
        for guide in filter(record["runs"][name].get, GUIDES):
            runs = list(record["runs"][name][guide].values())
            lines.append(f"| {' | '.join([name, guide, *cells(runs, record['references'].get(name))])} |")
    references = [f"{name}: {found['by']}" for name, found in record["references"].items()]
    return "\n".join([*lines, "", f"References: {'; '.join(references)}."]) + "\n"


def train_and_assess(options: argparse.Namespace, name: str, seed: int) -> Iterator[tuple[str, Run]]:
    posterior = POSTERIORS[name]()
    for guide_name in options.guides:
        factory, lr = GUIDES[guide_name]
        guide, steps = trained(factory, lr, posterior.model, options.seconds, seed)
        yield guide_name, assess(guide, posterior) | {"steps": steps}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--nuts", type=int, default=2500, help="samples of the long NUTS runs; 0 for none")
    parser.add_argument("--only", nargs="+", default=list(POSTERIORS), choices=list(POSTERIORS))
    parser.add_argument("--guides", nargs="+", default=list(GUIDES), choices=list(GUIDES))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "posteriors.json"
    record: Record = json.loads(path.read_text()) if path.exists() else {"references": {}, "runs": {}}
    record["seconds"] = options.seconds

    def save() -> None:
        path.write_text(json.dumps(record, indent=1))
        (options.out / "posteriors.md").write_text(table(record))

    for name in options.only if options.nuts else []:
        if name not in record["references"]:
            record["references"][name] = reference(POSTERIORS[name](), options.nuts)
            save()
    for seed in options.seeds:
        for name in options.only:
            for guide_name, run in train_and_assess(options, name, seed):
                record["runs"].setdefault(name, {}).setdefault(guide_name, {})[str(seed)] = run
                print(name, guide_name, seed, *cells([run], record["references"].get(name)), flush=True)
                save()
    save()


if __name__ == "__main__":
    main()
