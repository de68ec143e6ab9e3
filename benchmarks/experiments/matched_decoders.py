"""Experiment A: the three families on MNIST with the same decoder. The metric decides the winner.

``python -m benchmarks.experiments.matched_decoders --data-root DIR --scale small`` (some ten CPU-minutes;
``full``: many hours, latents of 2, 8, 16 and 32 and three seeds). A VAE, GANs (minimax and non-saturating;
with clipped weights, gradient penalty, spectral normalisation) from random weights and from the VAE's
decoder, a flow in the latent space of a frozen autoencoder, all with the lecture's decoder and as many
updates; and two competitors that learn nothing: centres of clusters and the mean image. A flow of pixels has
no such decoder: ``benchmarks.mnist_flow`` trains one, whose bits per dimension are another quantity.

Writes ``matched_decoders.md`` and ``matched_decoders.png`` into ``--out``. Trained models are kept in
``--runs`` and not trained again; the page of ``report.compare`` is written there too. ``--train NAME ...``
trains some and ends, for several processes side by side; ``--kept`` measures those that are there.
"""

from __future__ import annotations

import argparse
import platform
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from benchmarks.experiments.decoder_measures import (
    annealed,
    as_means,
    batch_w1,
    latents_from_prior,
    likelihoods,
    roughness,
)
from benchmarks.experiments.decoder_models import GAMES, competitors, game, latent_flow, vae
from pyro_dgm import data
from pyro_dgm.errors import PyroDGMError
from pyro_dgm.report import compare

SCALES: dict[str, dict[str, Any]] = {
    "small": {"updates": 500, "temperatures": 50, "latents": (8,), "seeds": 1, "num": 500},
    "full": {"updates": 50_000, "temperatures": 1000, "latents": (2, 8, 16, 32), "seeds": 3, "num": 5000},
}
QUANTITIES = (
    "-ELBO",
    "-IWAE, K = 100",
    "log p under noise 0.1 (AIS)",
    "energy",
    "W1 of batches",
    "energy, features",
    "fréchet, features",
    "kernel, features",
    "c2st-knn",
    "coverage",
    "density",
    "classes hit",
    "KL of classes",
    "nearest-train ratio",
    "latents from prior",
    "sd over neighbours",
    "updates",
    "CPU s",
)


def main() -> int:
    """Train everything, and write the table and the pages."""
    parser = argparse.ArgumentParser(description="The three families on MNIST with the same decoder.")
    parser.add_argument("--data-root", required=True)
    parser.add_argument("--scale", choices=list(SCALES), default="small")
    parser.add_argument("--updates", type=int)
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--latents", type=int, nargs="*")
    parser.add_argument("--train", nargs="*", help="models to train and keep, without measuring")
    parser.add_argument("--kept", action="store_true", help="measure the models that are there, train none")
    parser.add_argument("--runs", type=Path, default=Path("runs/matched_decoders"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    scale = SCALES[options.scale]
    updates, seeds = options.updates or scale["updates"], options.seeds or scale["seeds"]
    grey = data.mnist(options.data_root)
    binary = data.mnist(options.data_root, binarize="dynamic")
    order = torch.randperm(len(grey.test), generator=torch.Generator().manual_seed(7))
    test = grey.test[order]
    real = batch_w1(test[:1024], test[1024:2048])
    lines = [
        f"`python -m benchmarks.experiments.matched_decoders --scale {options.scale} --updates {updates}`, "
        f"torch {torch.__version__}, Python {platform.python_version()}, one thread. Bounds are those of "
        f"{binary.name}, in nats; samples are compared with grey test images. W1 of batches of 64 real "
        f"images: {real:.3f}.",
        "",
    ]
    options.out.mkdir(parents=True, exist_ok=True)
    for q in options.latents or scale["latents"]:
        for seed in range(seeds):
            chosen = {**scale, "updates": updates, "train": options.train}
            lines += one_seed(grey, binary, test, q, seed, chosen, options)
            if options.train is None:
                (options.out / "matched_decoders.md").write_text("\n".join(lines) + "\n")
    return 0


def one_seed(
    grey: data.ImageData,
    binary: data.ImageData,
    test: Tensor,
    q: int,
    seed: int,
    scale: dict[str, Any],
    options: argparse.Namespace,
) -> list[str]:
    """Train and measure all models of one latent size and seed."""
    updates, num = scale["updates"], scale["num"]
    models: dict[str, Any] = {}
    seconds: dict[str, float] = {}

    folder = options.runs / f"q{q}_seed{seed}_{updates}"
    wanted = scale["train"]
    left_out: list[str] = []

    def run(name: str, make: Any) -> Any:
        if wanted is not None and name not in wanted:
            return None
        if options.kept and not (folder / f"{name}.pt".replace(" ", "_")).exists():
            left_out.append(name)
            return None
        models[name], seconds[name] = kept(folder / f"{name}.pt".replace(" ", "_"), make)
        print(f"q {q}, seed {seed}: {name}, {seconds[name]:.0f} CPU s", flush=True)
        return models[name]

    def vae_of_seed() -> Any:
        return kept(folder / "VAE.pt", lambda: vae(binary, q, updates, seed))[0]

    run("VAE", lambda: vae(binary, q, updates, seed))
    run("flow over codes", lambda: latent_flow(binary, q, updates, seed))
    for name in GAMES:
        run(name, lambda name=name: game(name, grey, None, q, updates, seed))
        if name in ("GAN, non-saturating", "WGAN-GP"):
            run(
                f"{name}, from the VAE",
                lambda name=name: game(name, grey, vae_of_seed(), q, updates, seed),
            )
    if wanted is not None:
        return []
    start = models["VAE"]
    models |= competitors(grey, q, seed)
    found = compare({k: as_means(v) for k, v in models.items()}, grey, num=num, num_particles=100, seed=seed)
    found.write(folder)
    picture(models, test).savefig(options.out / "matched_decoders.png", dpi=70, bbox_inches="tight")
    cells: dict[tuple[str, str], str] = {(m.model, m.quantity): m.text for m in found.measurements}
    cells |= likelihoods(start, binary)
    floors = {m.quantity: m.limit for m in found.samples} | {"latents from prior": "0 for the prior itself"}
    for name, model in models.items():
        if isinstance(model, Exception):
            continue
        mean = as_means(model)
        cells[name, "W1 of batches"] = f"{batch_w1(mean.sample(1024, seed=3), test[:1024]):.3f}"
        if name in seconds:
            cells[name, "log p under noise 0.1 (AIS)"] = annealed(mean, test[:10], scale["temperatures"])
        cells[name, "latents from prior"] = latents_from_prior(model, binary)
        cells[name, "sd over neighbours"] = f"{roughness(mean, q):.2f}"
        cells[name, "updates"] = str(updates) if name in seconds else ""
        cells[name, "CPU s"] = f"{seconds[name]:.0f}" if name in seconds else ""
    names = list(models)
    table = [f"## q = {q}, seed {seed}", "", "| quantity | " + " | ".join(names) + " | floor or limit |"]
    table.append("|" + "---|" * (len(names) + 2))
    for quantity in QUANTITIES:
        row = [quantity, *(cells.get((name, quantity), "") for name in names), floors.get(quantity, "")]
        table.append("| " + " | ".join(row) + " |")
    failed = {**found.failed, **{k: repr(v) for k, v in models.items() if isinstance(v, Exception)}}
    words = f"Failed: {failed or 'none'}." + (f" Not trained: {', '.join(left_out)}." if left_out else "")
    return [*table, "", words, ""]


def kept(path: Path, make: Any) -> tuple[Any, float]:
    """A model, or why there is none, with the CPU seconds that it took: from the file if it is there."""
    if path.exists():
        return torch.load(path, weights_only=False)  # type: ignore[no-any-return]  # our own file
    start = time.process_time()
    try:
        model = make()
    except PyroDGMError as error:
        model = error
    entry = model, time.process_time() - start
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(entry, path)
    return entry


def picture(models: dict[str, Any], test: Tensor) -> Figure:
    """Draws of every model, not chosen, one row each; real images above."""
    rows = {"real": test[:16]}
    rows |= {
        name: as_means(m).sample(16, seed=2) for name, m in models.items() if not isinstance(m, Exception)
    }
    figure = Figure(figsize=(13, 0.75 * len(rows)), layout="constrained")
    for ax, (name, images) in zip(figure.subplots(len(rows)), rows.items(), strict=True):
        ax.imshow(images[:, 0].permute(1, 0, 2).flatten(1), cmap="gray", vmin=0, vmax=1)
        ax.set(xticks=[], yticks=[])
        ax.set_ylabel(name, rotation=0, ha="right", va="center")
    return figure


if __name__ == "__main__":
    raise SystemExit(main())
