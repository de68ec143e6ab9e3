"""Draw the picture of the README from the models that the tour has trained.

Run ``make tour`` and then ``python scripts/readme_picture.py [RUN_FOLDER] [PICTURE]``, by default from
``runs/tour`` to ``docs/pictures/tour.png``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from matplotlib.figure import Figure

from pyro_dgm import plotting
from pyro_dgm.recipes import load_data, load_run


def draw(folder: Path, picture: Path) -> None:
    """Draw density, paths and two grids of digits side by side."""
    real_nvp, ot_flow, vae, gan = (
        load_run(folder / name) for name in ("real-nvp", "ot-flow", "vae", "wgan-gp")
    )
    moons = load_data(real_nvp.config)
    figure = Figure(figsize=(13.0, 3.6), layout="constrained")
    axes = figure.subplots(1, 4)
    with torch.no_grad(), plotting.styled():
        plotting.density(real_nvp.model, window=moons.window, title="RealNVP: density", ax=axes[0])
        torch.manual_seed(0)
        way = ot_flow.model.flow.transform().path(torch.randn(60, 2))
        plotting.paths(way, title="OT-Flow: paths from latent to data", ax=axes[1])
        plotting.image_grid(
            vae.model.sample(64, seed=0), title="VAE: binary digits from the prior", ax=axes[2]
        )
        plotting.image_grid(gan.model.sample(64, seed=0), title="WGAN-GP: digits", ax=axes[3])
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=110)


if __name__ == "__main__":
    given = [Path(argument) for argument in sys.argv[1:]]
    draw(*(given + [Path("runs/tour"), Path("docs/pictures/tour.png")][len(given) :]))
