"""AutoFlow against Pyro's guides on known posteriors: ELBO, k-hat and errors at equal CPU time.

python -m benchmarks.posteriors --seconds 15 --seeds 3
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

import pyro
import torch
from pyro.infer import MCMC, NUTS, Trace_ELBO
from pyro.infer.autoguide import AutoIAFNormal, AutoMultivariateNormal, AutoNormal
from torch import Tensor

from benchmarks.posterior_models import POSTERIORS, Posterior, Sites
from pyro_dgm.diagnostics import psis
from pyro_dgm.guides import AutoFlow
from pyro_dgm.inference import importance_draws
from pyro_dgm.naming import unregistered

Model = Callable[[], object]
GUIDES: dict[str, tuple[Callable[[Model], Any], float]] = {
    "AutoFlow": (AutoFlow, 5e-3),
    "AutoFlow, sticking": (lambda model: AutoFlow(model, stick_the_landing=True), 5e-3),
    "AutoNormal": (AutoNormal, 2e-2),
    "AutoMultivariateNormal": (AutoMultivariateNormal, 2e-2),
    "AutoIAFNormal": (lambda model: AutoIAFNormal(model, num_transforms=3, hidden_dim=[64]), 5e-3),
}
PARTICLES = 16


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


def reference(posterior: Posterior, samples: int) -> Sites:
    """Draws of the posterior: exact ones, or long NUTS."""
    torch.manual_seed(0)
    if posterior.exact is not None:
        return posterior.exact(100_000)
    kernel = NUTS(posterior.model, target_accept_prob=0.95, max_tree_depth=8)
    mcmc = MCMC(kernel, num_samples=samples, warmup_steps=samples // 4, disable_progbar=True)
    mcmc.run()
    return mcmc.get_samples()


def moments(draws: Sites) -> tuple[Tensor, Tensor]:
    flat = torch.cat([value.reshape(len(value), -1) for value in draws.values()], 1).double()
    return flat.mean(0), flat.std(0)


def assess(guide: Any, posterior: Posterior, exact: Sites) -> dict[str, float]:
    """What the guide is worth, from 20 000 draws."""
    torch.manual_seed(99)
    with pyro.validation_enabled(False):
        drawn = importance_draws(posterior.model, guide, num_samples=20_000, chunk=4000)
    mu, sd = moments(exact)
    own_mu, own_sd = moments({name: drawn.samples[name] for name in exact})
    error = drawn.log_weights.std().item() / math.sqrt(len(drawn.log_weights))
    return {
        "elbo": drawn.elbo,
        "elbo_error": error,
        "k": psis(drawn.log_weights).k.item(),
        "mean_error": ((own_mu - mu).abs() / sd).max().item(),
        "sd_ratio_low": (own_sd / sd).min().item(),
        "sd_ratio_high": (own_sd / sd).max().item(),
    }


def table(results: dict[str, dict[str, list[dict[str, float]]]], seconds: float) -> str:
    lines = [
        f"Mean over the seeds after {seconds:g} CPU-seconds of training each. Mean error: the largest over "
        "all coordinates, in posterior standard deviations; sd: least and largest ratio to the posterior's.",
        "",
        "| posterior | guide | ELBO (nats) | k-hat | mean error | sd ratio | steps |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, guides in results.items():
        for guide, runs in guides.items():
            m = {key: mean(run[key] for run in runs) for key in runs[0]}
            spread = max(run["k"] for run in runs)
            cells = [
                name,
                guide,
                f"{m['elbo']:.3f} ± {m['elbo_error']:.3f}",
                f"{m['k']:.2f} (worst {spread:.2f})",
                f"{m['mean_error']:.2f}",
                f"{m['sd_ratio_low']:.2f} to {m['sd_ratio_high']:.2f}",
                f"{m['steps']:.0f}",
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--nuts", type=int, default=4000, help="samples of the long NUTS runs")
    parser.add_argument("--only", default="", help="posteriors whose name contains this")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    results: dict[str, dict[str, list[dict[str, float]]]] = {}
    for name, make in POSTERIORS.items():
        if options.only not in name:
            continue
        posterior = make()
        exact = reference(posterior, options.nuts)
        results[name] = {guide: [] for guide in GUIDES}
        for seed in range(options.seeds):
            for guide_name, (factory, lr) in GUIDES.items():
                guide, steps = trained(factory, lr, posterior.model, options.seconds, seed)
                run = assess(guide, posterior, exact) | {"steps": float(steps), "seed": float(seed)}
                results[name][guide_name].append(run)
                print(name, guide_name, {key: round(value, 3) for key, value in run.items()}, flush=True)
        options.out.mkdir(parents=True, exist_ok=True)
        versions = {"torch": torch.__version__, "pyro": pyro.__version__}
        content = {"seconds": options.seconds, "versions": versions, "results": results}
        (options.out / "posteriors.json").write_text(json.dumps(content, indent=1))
        (options.out / "posteriors.md").write_text(table(results, options.seconds))


if __name__ == "__main__":
    main()
