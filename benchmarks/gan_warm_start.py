"""Does a VAE's decoder spare an adversarial game its beginning? ``python -m benchmarks.gan_warm_start``.

On scikit-learn's digits (8 x 8): the same non-saturating game, from random weights and from the decoder of a
VAE, until the energy distance of 1 000 draws to 1 000 images falls below a threshold, over seeds. The VAE is
trained once a seed; its steps are listed beside, since they are not free.

Prints a table and writes ``benchmarks/results/gan_warm_start.md``, to which other ``--seeds`` are added.
"""

from __future__ import annotations

import argparse
import platform
import time
from pathlib import Path

import torch
from torch import Tensor
from torch.optim import Adam

from pyro_dgm import data
from pyro_dgm.distributions.likelihoods import Bernoulli
from pyro_dgm.guides import AmortizedNormal
from pyro_dgm.metrics import energy_distance
from pyro_dgm.models import VAE, ImplicitGenerator
from pyro_dgm.nets import ConvCritic, ConvDecoder, ConvEncoder
from pyro_dgm.objectives import R1, Adversarial
from pyro_dgm.training import fit

SHAPE, LATENT, WIDTH, VAE_STEPS = (1, 8, 8), 8, 16, 1000
THRESHOLDS = (0.2, 0.1, 0.05)
RESULTS = Path(__file__).parent / "results" / "gan_warm_start.md"


def trained_vae(images: Tensor, seed: int) -> tuple[VAE, float]:
    """A VAE of grey images taken as probabilities of pixels, and the CPU seconds of its training."""
    torch.manual_seed(seed)
    decoder = ConvDecoder(LATENT, SHAPE, width=WIDTH)
    guide = AmortizedNormal(ConvEncoder(SHAPE, LATENT, width=WIDTH))
    vae = VAE(decoder, LATENT, likelihood=Bernoulli(3), guide=guide)
    start = time.process_time()
    binary = torch.bernoulli(images)
    fit(vae, binary, steps=VAE_STEPS, batch_size=64, lr=2e-3, schedule="cosine", seed=seed, progress=False)
    return vae, time.process_time() - start


def steps_to(
    model: ImplicitGenerator, images: Tensor, seed: int, limit: int
) -> tuple[float, list[int | None]]:
    """The distance at the start, and the number of steps until each threshold; None where it was not met."""
    torch.manual_seed(seed)
    critic = ConvCritic(SHAPE, width=WIDTH, norm="layer")
    pair = tuple(Adam(net.parameters(), 5e-4, betas=(0.0, 0.99), fused=True) for net in (model, critic))
    game = Adversarial(model, critic, pair, regularisers=[R1(2.0)], average=0.99)  # type: ignore[arg-type]
    real = images[:1000]

    def distance() -> float:
        return energy_distance(game.averaged.sample(1000, seed=0), real, num_bootstrap=2).value  # type: ignore[operator]

    start, found = distance(), dict.fromkeys(THRESHOLDS)
    for step in range(1, limit + 1):
        game.step(images[torch.randint(len(images), (64,))])
        if step % 50 == 0:
            reached = distance()
            for threshold in THRESHOLDS:
                if found[threshold] is None and reached <= threshold:
                    found[threshold] = step  # type: ignore[assignment]
            if all(value is not None for value in found.values()):
                break
    return start, list(found.values())


def earlier_rows(table: Path) -> dict[tuple[str, ...], str]:
    """The rows of a table by start and seed."""
    lines = table.read_text().splitlines() if table.exists() else []
    rows = [line for line in lines if line.startswith(("| VAE", "| random"))]
    return {tuple(cell.strip() for cell in line.split("|")[1:3]): line for line in rows}


def main() -> int:
    """Run all seeds from both starts."""
    parser = argparse.ArgumentParser(description="Steps to a threshold from a VAE and from random weights.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--limit", type=int, default=2500)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    images = data.digits().train
    images = images[torch.randperm(len(images), generator=torch.Generator().manual_seed(0))]
    head = [
        f"`python -m benchmarks.gan_warm_start`, torch {torch.__version__}, Python "
        f"{platform.python_version()}, one thread; a dash: not within {options.limit} steps",
        "",
        "| start | seed | distance at the start | "
        + " | ".join(f"steps to {t}" for t in THRESHOLDS)
        + " | VAE |",
        "|---|---|---|" + "---|" * (len(THRESHOLDS) + 1),
    ]
    print(*head, sep="\n", flush=True)
    for seed in options.seeds:
        vae, seconds = trained_vae(images, seed)
        torch.manual_seed(seed)
        fresh = ImplicitGenerator(ConvDecoder(LATENT, SHAPE, width=WIDTH, output="sigmoid"), LATENT)
        for name, model in {"random": fresh, "VAE": ImplicitGenerator.from_vae(vae)}.items():
            start, found = steps_to(model, images, seed, options.limit)
            cells = [name, str(seed), f"{start:.3f}", *("-" if n is None else str(n) for n in found)]
            cells.append(f"{VAE_STEPS} steps, {seconds:.0f} s" if name == "VAE" else "")
            line = "| " + " | ".join(cells) + " |"
            print(line, flush=True)
            rows = earlier_rows(options.out) | {(name, str(seed)): line}
            options.out.write_text("\n".join([*head, *(rows[key] for key in sorted(rows))]) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
