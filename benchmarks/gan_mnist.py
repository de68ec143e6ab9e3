"""Adversarial models on MNIST, from the lecture's networks with two latent dimensions.

``python -m benchmarks.gan_mnist dcgan --data-root DIR --cpu-minutes 10 --out runs/gan_mnist``, likewise
``wgan-gp``. The generator starts from a VAE of the same networks, trained first (or read, if ``--out`` holds
one from an earlier run): its CPU time counts. ``--start random`` does without the VAE, and
``--latent-dim 32`` gives the generator more latents.

Prints the unbiased energy distance of 5 000 draws to 5 000 random training images as training goes on, then
against random test images too, each beside its floor (train against train, train against test). Writes the
curve, the averaged weights, a state to go on from, and a sheet of draws. A run that was stopped goes on where
it was.
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam

from pyro_dgm import data
from pyro_dgm.distributions.likelihoods import Bernoulli
from pyro_dgm.guides import AmortizedNormal
from pyro_dgm.metrics import energy_distance
from pyro_dgm.models import VAE, ImplicitGenerator
from pyro_dgm.nets import lecture_critic, lecture_decoder, lecture_encoder
from pyro_dgm.objectives import Adversarial, GradientPenalty
from pyro_dgm.training import fit
from pyro_dgm.training.schedules import constant_then_linear

NUM, BATCH, BAR_32, SLOWEST_CRITIC = 5000, 64, 0.03, 0.5
RECIPES: dict[str, dict[str, Any]] = {
    "dcgan": {
        "loss": "non-saturating",
        "norm": "layer",
        "penalty": {"weight": 5.0, "target": 0.0},
        "critic_steps": 1,
        "lr": (4e-4, 4e-4),
        "betas": (0.0, 0.99),
        "bar": 0.12,
    },
    "wgan-gp": {
        "loss": "wasserstein",
        "norm": "layer",
        "penalty": {"weight": 5.0, "every": 2},
        "critic_steps": 1,
        "lr": (2e-4, 8e-4),
        "betas": (0.0, 0.99),
        "bar": 0.07,
    },
}


def trained_vae(images: Tensor, folder: Path, latent_dim: int) -> tuple[VAE, float]:
    """The VAE to start from, and the CPU seconds of its training."""
    torch.manual_seed(0)
    guide = AmortizedNormal(lecture_encoder(latent_dim=latent_dim))
    vae = VAE(lecture_decoder(latent_dim=latent_dim), latent_dim, likelihood=Bernoulli(3), guide=guide)
    path = folder / f"vae-{latent_dim}.pt"
    if path.exists():
        saved = torch.load(path)
        vae.load_state_dict(saved["weights"])
        return vae, saved["seconds"]
    start = time.process_time()
    fit(
        vae, torch.bernoulli(images), steps=4000, batch_size=BATCH, lr=1e-3, schedule="cosine", progress=False
    )
    seconds = time.process_time() - start
    torch.save({"weights": vae.state_dict(), "seconds": seconds}, path)
    return vae, seconds


def new_game(name: str, vae: VAE | None, latent_dim: int, average: float) -> Adversarial:
    """The game of a recipe."""
    torch.manual_seed(1)
    chosen = RECIPES[name]
    if vae is None:
        model = ImplicitGenerator(lecture_decoder(latent_dim=latent_dim, output="sigmoid"), latent_dim)
    else:
        model = ImplicitGenerator.from_vae(vae)
    critic = lecture_critic(chosen["norm"])
    for network in (model, critic):
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    (lr, critic_lr), betas = chosen["lr"], chosen["betas"]
    return Adversarial(
        model,
        critic,
        (
            Adam(model.parameters(), lr, betas=betas, fused=True),
            Adam(critic.parameters(), critic_lr, betas=betas, fused=True),
        ),
        loss=chosen["loss"],
        regularisers=[GradientPenalty(**chosen["penalty"])],
        critic_steps=chosen["critic_steps"],
        average=average,
    )


def distance(game: Adversarial, real: Tensor) -> float:
    """The energy distance of the averaged generator's draws, without its interval."""
    game.calibrate_average(real[:BATCH])
    draws = game.averaged.sample(NUM, seed=0)  # type: ignore[operator]
    return energy_distance(draws, real, num_bootstrap=2).value


def train(
    game: Adversarial,
    lrs: tuple[float, float],
    images: Tensor,
    real: Tensor,
    budget: float,
    start: float,
    folder: Path,
) -> float:
    """Play until ``budget`` CPU seconds are used, ``start`` of them before, and return how many were."""
    used = start
    state = folder / "state.pt"
    curve: list[tuple[float, int, float]] = []
    if state.exists():
        saved = torch.load(state)
        game.load_state_dict(saved["game"])
        used, curve = saved["used"], saved["curve"]
    generator = torch.Generator().manual_seed(game.steps)
    while used < budget:
        began = time.process_time()
        factor = constant_then_linear((used - start) / (budget - start))
        # A critic that has stopped learning sends the generator off in one direction.
        for optimizer, lr, least in zip(game.optimizers, lrs, (0.0, SLOWEST_CRITIC), strict=True):
            optimizer.param_groups[0]["lr"] = lr * max(factor, least)
        for _ in range(25):
            losses = game.step(images[torch.randint(len(images), (BATCH,), generator=generator)])
        before, used = used, used + time.process_time() - began
        if used // 60 > before // 60 or used >= budget:
            curve.append((round(used / 60, 2), game.steps, round(distance(game, real), 4)))
            print(*curve[-1], f"value {losses.value:.3f} slope {losses.slope}", flush=True)
            torch.save({"game": game.state_dict(), "used": used, "curve": curve}, state)
            with (folder / "curve.csv").open("w", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(["cpu_minutes", "steps", "energy_distance_to_train"])
                writer.writerows(curve)
    return used


def main() -> int:
    """Train one recipe and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("recipe", choices=RECIPES)
    parser.add_argument("--data-root", required=True)
    parser.add_argument("--cpu-minutes", type=float, default=40.0)
    parser.add_argument("--latent-dim", type=int, default=2)
    parser.add_argument("--start", choices=["vae", "random"], default="vae")
    parser.add_argument("--average", type=float, default=0.999, help="decay of the average of weights")
    parser.add_argument("--out", type=Path, default=Path("runs/gan_mnist"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    latent_dim = options.latent_dim
    folder = options.out / f"{options.recipe}-{options.start}-{latent_dim}"
    folder.mkdir(parents=True, exist_ok=True)
    mnist = data.mnist(options.data_root)
    order = torch.randperm(len(mnist.train), generator=torch.Generator().manual_seed(7))
    train_rows, other_rows = mnist.train[order[:NUM]], mnist.train[order[NUM : 2 * NUM]]
    test_rows = mnist.test[torch.randperm(len(mnist.test), generator=torch.Generator().manual_seed(7))[:NUM]]

    vae, used = trained_vae(mnist.train, options.out, latent_dim) if options.start == "vae" else (None, 0.0)
    game = new_game(options.recipe, vae, latent_dim, options.average)
    print(
        f"start ({options.start}, {used / 60:.1f} CPU-minutes): {distance(game, train_rows):.4f}", flush=True
    )
    chosen = RECIPES[options.recipe]
    used = train(
        game,
        chosen["lr"],
        mnist.train,
        train_rows,
        60 * options.cpu_minutes,
        used,
        folder,
    )

    game.calibrate_average(train_rows[:BATCH])
    torch.save(game.averaged.state_dict(), folder / "averaged.pt")
    draws = game.averaged.sample(NUM, seed=1)  # type: ignore[operator]
    from pyro_dgm.plotting import image_grid

    image_grid(draws[:100]).figure.savefig(folder / "draws.png", dpi=150)  # type: ignore[union-attr]
    to_train = energy_distance(draws, train_rows, num_bootstrap=100)
    bar = BAR_32 if latent_dim == 32 else chosen["bar"]
    met = to_train.value <= bar
    where = f"{options.recipe} from {options.start}, q = {latent_dim}"
    print(f"{where}, {game.steps} critic updates, {used / 60:.1f} CPU-minutes")
    print(f"to train {to_train}, bar {bar}: {'met' if met else 'MISSED'}")
    print(f"to test {energy_distance(draws, test_rows, num_bootstrap=2).value:.4f}")
    floors = [energy_distance(rows, train_rows, num_bootstrap=2).value for rows in (other_rows, test_rows)]
    print(f"floors: train against train {floors[0]:.4f}, test against train {floors[1]:.4f}")
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main())
