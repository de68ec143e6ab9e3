"""Experiment B: every family on targets of known density, with less and less noise.

``python -m benchmarks.experiments.known_truth --scale small`` (about ten CPU-minutes; ``full``: about three
hours, three seeds). Flows, VAEs with one and two latents and a normal likelihood of learned scale, and a GAN
with two latents, all with as many updates, on two moons at noise 0.05, 0.02 and 0.005, eight Gaussians and a
checkerboard. Rates are those that each family is usually trained with.

Writes ``known_truth.md`` and ``known_truth.png`` into ``--out``; runs are kept in ``--runs``, and not made
again. The divergence is that of the truth from the
model, by paired differences at fresh points; a VAE's density is its marginal by quadrature. The first row of
each target is the truth against itself: what the metrics of samples score for a perfect model.
"""

from __future__ import annotations

import argparse
import platform
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from torch.optim import Adam

from benchmarks.experiments.truth_measures import NUM, condition, divergence, sample_figures
from pyro_dgm import data, nets, plotting
from pyro_dgm.data import Target2D
from pyro_dgm.distributions.likelihoods import Gaussian
from pyro_dgm.errors import PyroDGMError
from pyro_dgm.flows import NeuralSpline, OTFlow, RealNVP
from pyro_dgm.guides import AmortizedNormal
from pyro_dgm.models import VAE, ImplicitGenerator, NormalizingFlow
from pyro_dgm.objectives import ELBO, Adversarial, GradientPenalty
from pyro_dgm.training import fit

TARGETS: dict[str, Callable[[], Target2D]] = {
    "moons 0.05": lambda: data.two_moons(0.05),
    "moons 0.02": lambda: data.two_moons(0.02),
    "moons 0.005": lambda: data.two_moons(0.005),
    "8 gaussians": data.eight_gaussians,
    "checkerboard": data.checkerboard,
}
STEPS = {"small": 2500, "full": 20_000}
COLUMNS = ("KL", "energy", "sliced W1", "modes", "off support", "filaments", "condition", "CPU s")


def vae(latent_dim: int) -> VAE:
    guide = AmortizedNormal(nets.MLPEncoder((2,), latent_dim, (128, 128)))
    decoder = nets.MLPDecoder(latent_dim, (2,), (128, 128))
    return VAE(decoder, latent_dim, likelihood=Gaussian(scale=0.3, learned=True), guide=guide)


def gan() -> Adversarial:
    """The recipe with a zero-centred penalty of benchmarks.gan_modes."""
    generator = ImplicitGenerator(nets.MLPDecoder(2, (2,), (128, 128, 128)), 2)
    critic = nets.MLPCritic((2,), (128, 128, 128))
    pair = tuple(Adam(net.parameters(), 1e-3, betas=(0.0, 0.9), fused=True) for net in (generator, critic))
    return Adversarial(
        generator,
        critic,
        pair,
        loss="non-saturating",
        regularisers=[GradientPenalty(0.05, target=0.0, every=4)],
        average=0.995,
        on_divergence="ignore",
    )


MODELS: dict[str, Callable[[], Any]] = {
    "RealNVP": lambda: NormalizingFlow(RealNVP(2, num_layers=6, hidden_dims=(64, 64))),
    "spline": lambda: NormalizingFlow(NeuralSpline(2, num_layers=4, hidden_dims=(64, 64))),
    "OT-Flow": lambda: NormalizingFlow(
        OTFlow(2, width=32, nt_train=4, nt_eval=32, transport_weight=0.1, hjb_weight=0.5)
    ),
    "VAE, q = 1": lambda: ELBO(vae(1)),
    "VAE, q = 2": lambda: ELBO(vae(2)),
    "GAN, q = 2": gan,
}


def trained(name: str, target: Target2D, steps: int, seed: int) -> tuple[Any, float]:
    """A trained model, and the CPU seconds that it took."""
    torch.manual_seed(seed)
    objective = MODELS[name]()
    start = time.process_time()
    rate = {"lr": 2e-2 if name == "OT-Flow" else 2e-3, "schedule": "cosine"}
    if isinstance(objective, Adversarial):
        rate = {}
    fit(objective, target, steps=steps, seed=seed, progress=False, log_every=100, **rate)
    seconds = time.process_time() - start
    if isinstance(objective, Adversarial):
        return objective.averaged, seconds
    return (objective.model if isinstance(objective, ELBO) else objective).eval(), seconds


def run(key: str, name: str, seed: int, steps: int, folder: Path) -> dict[str, Any]:
    """All figures of one model, and samples to draw; made once."""
    path = folder / f"{key}_{name}_{seed}_{steps}.pt".replace(" ", "_")
    if path.exists():
        return torch.load(path, weights_only=True)  # type: ignore[no-any-return]
    target = TARGETS[key]()
    model, seconds = trained(name, target, steps, seed)
    found = {
        "KL": divergence(target, model),
        **sample_figures(target, model.sample(NUM, seed=1)),
        "condition": condition(model),
        "CPU s": seconds,
        "samples": model.sample(1500, seed=2),
    }
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(found, path)
    return found


def shown(value: Any) -> str:
    """A figure as text: a pair has its standard error or its 99 % quantile behind it."""
    if value is None:
        return "-"
    if isinstance(value, tuple):
        return " / ".join(f"{v:.3g}" for v in value)
    return f"{value:.3g}"


def main() -> int:
    """Train every model on every target and write the table."""
    parser = argparse.ArgumentParser(description="Every family on targets of known density.")
    parser.add_argument("--scale", choices=list(STEPS), default="small")
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--targets", nargs="*", choices=list(TARGETS), default=list(TARGETS))
    parser.add_argument("--runs", type=Path, default=Path("runs/known_truth"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    seeds = options.seeds or {"small": 1, "full": 3}[options.scale]
    steps = STEPS[options.scale]
    head = ["target", "model", "seed", *COLUMNS]
    lines = [
        f"`python -m benchmarks.experiments.known_truth --scale {options.scale}`, {steps} updates of 256 "
        f"rows each, torch {torch.__version__}, Python {platform.python_version()}, one thread.",
        "KL of the truth from the model / standard error, in nats; condition of the generator's Jacobian, "
        "median / 99 % quantile; off support: share of samples outside of 99.9 % of the truth; filaments: "
        "those of them between modes.",
        "",
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
    ]
    print(*lines, sep="\n", flush=True)
    figure = Figure(figsize=(2.6 * (len(MODELS) + 1), 2.7 * len(options.targets)), layout="constrained")
    axes = figure.subplots(len(options.targets), len(MODELS) + 1, squeeze=False)
    failed = 0
    for line, key in zip(axes, options.targets, strict=True):
        target = TARGETS[key]()
        truth = sample_figures(target, target.sample(NUM, seed=15))
        entries = [(key, "truth", "", truth)]
        plotting.samples(target.sample(1500, seed=16), window=target.window, title=key, ax=line[0])
        for ax, name in zip(line[1:], MODELS, strict=True):
            for seed in range(seeds):
                try:
                    figures = run(key, name, seed, steps, options.runs)
                    entries.append((key, name, str(seed), figures))
                except PyroDGMError as error:
                    failed += 1
                    entries.append((key, f"{name}: {type(error).__name__}", str(seed), {}))
                    continue
                if seed == 0:
                    plotting.samples(figures["samples"], window=target.window, title=name, ax=ax)
        for *words, values in entries:
            lines.append("| " + " | ".join([*words, *(shown(values.get(c)) for c in COLUMNS)]) + " |")
            print(lines[-1], flush=True)
        options.out.mkdir(parents=True, exist_ok=True)
        text = "\n".join([*lines, "", f"Runs that failed: {failed}."])
        (options.out / "known_truth.md").write_text(text + "\n")
    figure.savefig(options.out / "known_truth.png", dpi=70)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
