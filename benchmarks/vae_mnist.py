"""VAEs on MNIST: ``python -m benchmarks.vae_mnist RUN --data-root DIR --cpu-minutes 20 --out DIR``.

Trains one of the runs of ``benchmarks.vae_runs`` for so many minutes of processor time on one thread, with a
learning rate that falls along a cosine over that time, and writes its weights and its curve to ``--out``.
Every twentieth of the time the negative ELBO of the test images is noted; nothing is chosen by it, and the
weights are those of the end. ``--evaluate K`` estimates log p of the test images with K samples each.
"""

from __future__ import annotations

import argparse
import csv
import math
import time
import warnings
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.vae_runs import RUNS, VAERun
from pyro_dgm.data import ImageData, mnist
from pyro_dgm.guides import AmortizedFlow
from pyro_dgm.metrics import importance_log_likelihood
from pyro_dgm.models import VAE
from pyro_dgm.objectives import ELBO
from pyro_dgm.training import fit, load_weights, save
from pyro_dgm.training.callbacks import Every, FitState


def train(name: str, run: VAERun, data: ImageData, minutes: float, out: Path, start: Path | None) -> VAE:
    """Train a run from scratch, or from the weights in ``start``, and save it in ``out / name``."""
    torch.manual_seed(0)
    vae = run.build(data)
    if start is not None:
        start_from(start, vae, data)
    budget, began, curve = 60 * minutes, time.process_time(), []

    def used(_: float = 0.0) -> float:
        return min(1.0, (time.process_time() - began) / budget)

    def look(state: FitState) -> None:
        if used() >= len(curve) / 20 or used() >= 1.0:
            loss = negative_elbo(vae, data.test)
            curve.append((state.step, time.process_time() - began, state.values["loss"], loss))
            print(f"{name}: step {state.step}, {curve[-1][1]:.0f} CPU s, -ELBO {loss:.3f}", flush=True)
            save(out / name, vae, extra={"curve": curve, "data": data.name})
        if used() >= 1.0:
            state.stop("CPU time")

    fit(
        run.objective(vae),
        data,
        steps=10**9,
        batch_size=run.batch_size,
        lr=run.lr,
        schedule=lambda done: 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * used())),
        callbacks=[Every(100, look)],
        log_every=100,
        progress=False,
    )
    with (out / f"{name}.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("step", "cpu_seconds", "training_loss", "test_negative_elbo"), *curve])
    return vae


@torch.no_grad()
def start_from(folder: Path, vae: VAE, data: ImageData) -> None:
    """Set the weights to saved ones of the same networks, or of the diagonal model for one with a flow.

    A fresh inverse autoregressive flow multiplies its base by numbers below one. The first outputs of the
    encoder are the diagonal model's, so divided that flow and base together are its guide, and the third one
    is zero.
    """
    if not isinstance(vae.guide, AmortizedFlow):
        load_weights(folder, vae)
        return
    diagonal = RUNS["elbo-dynamic"].build(data)
    load_weights(folder, diagonal)
    last, features = vae.guide.encoder.mlp.layers[-1], torch.zeros(vae.guide.flow.context_dim)
    last.weight.zero_()
    last.bias.zero_()
    for name, value in diagonal.state_dict().items():
        vae.get_parameter(name)[: len(value)] = value
    scale = vae.guide.flow.transform(features)(torch.ones(vae.latent_dim))
    last.weight[: len(scale)] /= scale[:, None]
    last.bias[: len(scale)] /= scale
    last.bias[len(scale) : 2 * len(scale)] -= 2 * scale.log()


@torch.no_grad()
def negative_elbo(vae: VAE, x: Tensor, seed: int = 1) -> float:
    """The negative evidence lower bound of images, one draw each, in nats."""
    bound = ELBO(vae)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        losses = [bound.evaluate_loss(rows) * len(rows) for rows in x.split(1000)]
    return sum(losses) / len(x)


def main() -> None:
    """Train, evaluate, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", choices=RUNS)
    parser.add_argument("--data-root", required=True)
    parser.add_argument("--cpu-minutes", type=float, default=20.0)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--start", type=Path, help="a folder of elbo-dynamic, or of the same run, to start from"
    )
    parser.add_argument("--evaluate", type=int, default=0, metavar="K")
    parser.add_argument("--images", type=int, default=10_000)
    given = parser.parse_args()
    torch.set_num_threads(1)
    run = RUNS[given.run]
    data = mnist(given.data_root, binarize=run.binarize)
    given.out.mkdir(parents=True, exist_ok=True)
    if given.cpu_minutes > 0:
        train(given.run, run, data, given.cpu_minutes, given.out, given.start)
    if given.evaluate:
        vae = run.build(data)
        load_weights(given.out / given.run, vae)
        evaluate(given.run, vae, data, given.evaluate, given.images)


@torch.no_grad()
def evaluate(name: str, vae: VAE, data: ImageData, num_samples: int, images: int) -> None:
    """Print the bound of all test images, log p of the first so many, and where these are not all, of all.

    The gap between the two differs little from image to image, so that some images give it well.
    """
    bound, where = negative_elbo(vae, data.test), f"{name} on {data.name}"
    print(f"{where}: -ELBO {bound:.3f} nats, {len(data.test)} images, one draw each", flush=True)
    log_probs, elbos = torch.empty(0), torch.empty(0)
    for number, x in enumerate(data.test[:images].split(500)):
        estimate = importance_log_likelihood(vae, x, num_samples=num_samples, seed=number)
        log_probs = torch.cat((log_probs, estimate.log_prob))
        elbos = torch.cat((elbos, torch.stack([vae.log_prob_bound(x) for _ in range(20)]).mean(0)))
        gap, count = log_probs - elbos, len(log_probs)
        print(
            f"{where}: -L_{num_samples} {-log_probs.mean():.3f} ± {_error(log_probs):.3f} on {count} images, "
            f"{gap.mean():.3f} ± {_error(gap):.3f} below their -ELBO, hence about "
            f"{bound - gap.mean().item():.2f} on all; of the last {len(x)}: {estimate}",
            flush=True,
        )


def _error(values: Tensor) -> float:
    return values.std().item() / math.sqrt(len(values))


if __name__ == "__main__":
    warnings.filterwarnings("ignore", message=".*deprecated.*")
    main()
