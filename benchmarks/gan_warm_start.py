"""Does a VAE's decoder spare an adversarial game its beginning? ``python -m benchmarks.gan_warm_start``.

On scikit-learn's digits (8 x 8): the same non-saturating game, from random weights and from the decoder of a
VAE, until the energy distance of 1 000 draws to 1 000 images falls below a threshold, over seeds. The VAE is
trained once a seed; its steps are listed beside, since they are not free.

Prints a table and writes ``benchmarks/results/gan_warm_start.md``, and the distances on the way beside it, as
numbers and as a picture. Other ``--seeds`` are added to what is there.
"""

from __future__ import annotations

import argparse
import csv
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


def distances(model: ImplicitGenerator, images: Tensor, seed: int, limit: int) -> list[tuple[int, float]]:
    """Steps and distances on the way, from the start until the lowest threshold or the limit."""
    torch.manual_seed(seed)
    critic = ConvCritic(SHAPE, width=WIDTH, norm="layer")
    pair = tuple(Adam(net.parameters(), 5e-4, betas=(0.0, 0.99), fused=True) for net in (model, critic))
    game = Adversarial(model, critic, pair, regularisers=[R1(2.0)], average=0.99)  # type: ignore[arg-type]
    real = images[:1000]

    def distance() -> float:
        return energy_distance(game.averaged.sample(1000, seed=0), real, num_bootstrap=2).value  # type: ignore[operator]

    curve = [(0, distance())]
    for step in range(1, limit + 1):
        game.step(images[torch.randint(len(images), (64,))])
        if step % 50 == 0:
            curve.append((step, distance()))
            if curve[-1][1] <= min(THRESHOLDS):
                break
    return curve


def steps_to(curve: list[tuple[int, float]], threshold: float) -> str:
    """The first step at which a curve was not above a threshold, or a dash."""
    return next((str(step) for step, value in curve if value <= threshold), "-")


def draw(table: Path) -> None:
    """Draw all curves beside the table."""
    import matplotlib.pyplot as plt

    curves: dict[tuple[str, str], list[tuple[float, float]]] = {}
    with table.with_suffix(".csv").open(newline="") as file:
        for row in csv.DictReader(file):
            point = (float(row["step"]), float(row["energy_distance"]))
            curves.setdefault((row["start"], row["seed"]), []).append(point)
    figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
    colours, seen = {"random": "tab:grey", "VAE": "tab:blue"}, set()
    for (name, _), points in sorted(curves.items()):
        label = None if name in seen else ("random weights" if name == "random" else "the VAE's decoder")
        seen.add(name)
        axes.plot(*zip(*points, strict=True), color=colours[name], alpha=0.8, lw=1.2, label=label)
    for threshold in THRESHOLDS:
        axes.axhline(threshold, color="black", lw=0.5, ls=":")
    axes.set(yscale="log", xlabel="critic updates", ylabel="energy distance to the digits")
    axes.legend(frameon=False)
    figure.savefig(table.with_suffix(".png"), dpi=150)
    plt.close(figure)


def keep_curve(table: Path, name: str, seed: int, curve: list[tuple[int, float]]) -> None:
    """Add a curve to those beside the table, in place of an earlier one."""
    path, rows = table.with_suffix(".csv"), []
    if path.exists():
        with path.open(newline="") as file:
            rows = [r for r in csv.reader(file) if r[:2] not in ([name, str(seed)], ["start", "seed"])]
    rows += [[name, str(seed), str(step), f"{value:.4f}"] for step, value in curve]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["start", "seed", "step", "energy_distance"], *rows])


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
            curve = distances(model, images, seed, options.limit)
            cells = [name, str(seed), f"{curve[0][1]:.3f}", *(steps_to(curve, t) for t in THRESHOLDS)]
            cells.append(f"{VAE_STEPS} steps, {seconds:.0f} s" if name == "VAE" else "")
            line = "| " + " | ".join(cells) + " |"
            print(line, flush=True)
            rows = earlier_rows(options.out) | {(name, str(seed)): line}
            options.out.write_text("\n".join([*head, *(rows[key] for key in sorted(rows))]) + "\n")
            keep_curve(options.out, name, seed, curve)
    draw(options.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
