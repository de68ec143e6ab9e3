"""What a step of an adversarial game costs: ``python -m benchmarks.gan``.

The lecture's networks (28 x 28 images, width 32, two latent dimensions), batch 64, one thread, CPU time, all
in one interleaved run. A step is one update of the generator with its critic updates. Three games:

* DCGAN: batch normalisation in both networks, Adam, one critic update;
* WGAN: the same networks, RMSprop, weights clipped at 0.01, five critic updates;
* WGAN-GP: a critic without normalisation, Adam, penalty of weight 10, five critic updates.

Each is played three ways: ``lecture``, the plain loop of the lecture's scripts on plain networks (without its
logging and plots), plus the textbook penalty for WGAN-GP; ``hand``, a loop by an expert on this
package's networks: no graph of the generator in a critic update, a frozen critic in its own, losses on
logits, one pass for real and generated rows where the critic has no batch normalisation, fused or batched
optimisers, and networks in channels-last memory; ``ours``, :class:`pyro_dgm.objectives.Adversarial` on the
same networks in the same memory format, with its checks, readings and a slope measured every 100 steps.

Prints the ratios beside their bars and writes ``benchmarks/results/gan.md``. Exits with 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import copy
import platform
import statistics
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus
from torch.optim import Adam, Optimizer, RMSprop

from benchmarks.interleaved import interleaved, ratio_line
from pyro_dgm.models import ImplicitGenerator
from pyro_dgm.nets import lecture_critic, lecture_decoder
from pyro_dgm.objectives import Adversarial, Batch, GradientPenalty, WeightClipping

BATCH, CLIP, WEIGHT = 64, 0.01, 10.0
RESULTS = Path(__file__).parent / "results" / "gan.md"
BARS = {"DCGAN": 0.85, "WGAN": 0.78, "WGAN-GP": 0.88}
CRITIC_STEPS = {"DCGAN": 1, "WGAN": 5, "WGAN-GP": 5}
OVER_HAND = 1.05

Step = Callable[[], object]


def optimisers(game: str, g: nn.Module, d: nn.Module, *, fast: bool) -> tuple[Optimizer, Optimizer]:
    """The pair of optimisers of a game, as the lecture writes them or as fast as torch has them."""
    if game == "WGAN":
        each = {"lr": 5e-5, "foreach": True if fast else None}
        return RMSprop(g.parameters(), **each), RMSprop(d.parameters(), **each)  # type: ignore[arg-type]
    betas = (0.5, 0.999) if game == "DCGAN" else (0.0, 0.9)
    lr, fused = (2e-4 if game == "DCGAN" else 1e-4), True if fast else None
    return Adam(g.parameters(), lr, betas=betas, fused=fused), Adam(
        d.parameters(), lr, betas=betas, fused=fused
    )


class _Centred(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x - 0.5) / 0.5


def plain_networks(game: str) -> tuple[nn.Module, nn.Module]:
    """The lecture's networks from torch's layers alone; the sigmoid of the discriminator is in the loop."""

    def norm(channels: int) -> list[nn.Module]:
        return [] if game == "WGAN-GP" else [nn.BatchNorm2d(channels)]

    g = nn.Sequential(
        nn.Linear(2, 64 * 7 * 7),
        nn.Unflatten(1, (64, 7, 7)),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.ConvTranspose2d(64, 32, 4, stride=2, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.ConvTranspose2d(32, 1, 4, stride=2, padding=1),
        nn.Sigmoid(),
    )
    first = [_Centred(), nn.Conv2d(1, 32, 4, stride=2, padding=1), *norm(32), nn.LeakyReLU(0.2)]
    second = [nn.Conv2d(32, 64, 4, stride=2, padding=1), *norm(64), nn.LeakyReLU(0.2)]
    return g, nn.Sequential(*first, *second, nn.Flatten(), nn.Linear(64 * 7 * 7, 1))


def textbook_penalty(d: nn.Module, x: Tensor, gz: Tensor) -> Tensor:
    """The penalty as it is written in textbooks."""
    epsilon = torch.rand(len(x), 1, 1, 1)
    points = (epsilon * x + (1 - epsilon) * gz).requires_grad_(True)
    scores = d(points)
    (gradient,) = torch.autograd.grad(
        scores, points, grad_outputs=torch.ones_like(scores), create_graph=True, retain_graph=True
    )
    return WEIGHT * ((gradient.view(len(x), -1).norm(2, dim=1) - 1) ** 2).mean()


def lecture(game: str, g: nn.Module, d: nn.Module, x: Tensor) -> Step:
    """The lecture's loop: log of a sigmoid, gradients through both networks in both updates."""
    optimizer_g, optimizer_d = optimisers(game, g, d, fast=False)

    def step() -> tuple[float, float]:
        for _ in range(CRITIC_STEPS[game]):
            if game == "WGAN":
                for p in d.parameters():
                    p.data.clamp_(-CLIP, CLIP)
            real, gz = d(x), g(torch.randn(len(x), 2))
            fake = d(gz)
            if game == "DCGAN":
                loss = -torch.log(torch.sigmoid(real)).mean() - torch.log(1 - torch.sigmoid(fake)).mean()
            else:
                loss = -(real.mean() - fake.mean())
            if game == "WGAN-GP":
                loss = loss + textbook_penalty(d, x, gz)
            optimizer_d.zero_grad()
            loss.backward()
            optimizer_d.step()
            critic_loss = loss.item()
        optimizer_g.zero_grad()
        fake = d(g(torch.randn(len(x), 2)))
        loss = torch.log(1 - torch.sigmoid(fake)).mean() if game == "DCGAN" else -fake.mean()
        loss.backward()
        optimizer_g.step()
        return critic_loss, loss.item()

    return step


def hand(game: str, g: nn.Module, d: nn.Module, x: Tensor) -> Step:
    """The same as an expert writes it."""
    optimizer_g, optimizer_d = optimisers(game, g, d, fast=True)
    weights = list(d.parameters())

    def step() -> tuple[float, float]:
        for _ in range(CRITIC_STEPS[game]):
            with torch.no_grad():
                gz = g(torch.randn(len(x), 2))
            if game == "WGAN-GP":
                real, fake = d(torch.cat((x, gz))).chunk(2)
            else:
                real, fake = d(x), d(gz)
            if game == "DCGAN":
                loss = softplus(-real).mean() + softplus(fake).mean()
            else:
                loss = fake.mean() - real.mean()
            if game == "WGAN-GP":
                points = torch.lerp(gz, x, torch.rand(len(x), 1, 1, 1)).requires_grad_()
                (gradient,) = torch.autograd.grad(d(points).sum(), points, create_graph=True)
                slope = torch.linalg.vector_norm(gradient.flatten(1), dim=1)
                loss = loss + WEIGHT * (slope - 1).square().mean()
            optimizer_d.zero_grad()
            loss.backward()
            optimizer_d.step()
            if game == "WGAN":
                with torch.no_grad():
                    torch._foreach_clamp_min_(weights, -CLIP)
                    torch._foreach_clamp_max_(weights, CLIP)
            critic_loss = loss.item()
        d.requires_grad_(False)
        optimizer_g.zero_grad()
        fake = d(g(torch.randn(len(x), 2)))
        loss = softplus(-fake).mean() if game == "DCGAN" else -fake.mean()
        loss.backward()
        optimizer_g.step()
        d.requires_grad_(True)
        return critic_loss, loss.item()

    return step


def ours(game: str, g: nn.Module, d: nn.Module, x: Tensor) -> Step:
    """The same through the library."""
    regularisers = {"DCGAN": [], "WGAN": [WeightClipping(CLIP)], "WGAN-GP": [GradientPenalty(WEIGHT)]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # clipping beside batch normalisation, which is what the lecture does
        played = Adversarial(
            ImplicitGenerator(g, 2),
            d,
            optimisers(game, g, d, fast=True),
            loss="non-saturating" if game == "DCGAN" else "wasserstein",
            regularisers=regularisers[game],
            critic_steps=CRITIC_STEPS[game],
        )

    def step() -> None:
        for _ in range(CRITIC_STEPS[game]):
            played.step(Batch(x))

    return step


def main() -> int:
    """Run the benchmark and print its figures."""
    parser = argparse.ArgumentParser(description="The cost of adversarial steps.")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    x = torch.rand(BATCH, 1, 28, 28)
    lines = [
        f"`python -m benchmarks.gan`, torch {torch.__version__}, Python {platform.python_version()}, one "
        f"thread, {options.rounds} interleaved rounds",
        "",
        "| game | lecture, ms | hand, ms | ours, ms | ours / lecture | bar | ours / hand | bar |",
        "|---|---|---|---|---|---|---|---|",
    ]
    met = []
    for game, bar in BARS.items():
        g = lecture_decoder(output="sigmoid")
        d = lecture_critic(None if game == "WGAN-GP" else "batch")
        for network in (g, d):
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        ways = {"lecture": lecture, "hand": hand, "ours": ours}
        pairs = {"lecture": plain_networks(game), "hand": copy.deepcopy((g, d)), "ours": (g, d)}
        sizes = [sum(p.numel() for network in pair for p in network.parameters()) for pair in pairs.values()]
        assert len(set(sizes)) == 1, sizes
        work = {name: way(game, *pairs[name], x) for name, way in ways.items()}
        seconds = interleaved(work, rounds=options.rounds, repeats=2 if CRITIC_STEPS[game] == 1 else 1)
        ratios = [
            ratio_line(seconds, "ours", other, limit)
            for other, limit in (("lecture", bar), ("hand", OVER_HAND))
        ]
        print(game, *(line for line, _ in ratios), sep="\n  ", flush=True)
        met += ["met" in line for line, _ in ratios]
        ms = [f"{1e3 * statistics.median(seconds[name]):.1f}" for name in ways]
        cells = [game, *ms, f"{ratios[0][1]:.3f}", f"{bar:.2f}", f"{ratios[1][1]:.3f}", f"{OVER_HAND:.2f}"]
        lines.append("| " + " | ".join(cells) + " |")
    options.out.write_text("\n".join(lines) + "\n")
    print(*lines, sep="\n")
    return 0 if all(met) else 1


if __name__ == "__main__":
    raise SystemExit(main())
