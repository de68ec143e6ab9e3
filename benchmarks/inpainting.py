"""Digits of which the lower half is hidden: the posterior of a VAE's latent, its error and its coverage.

python -m benchmarks.inpainting --images 50
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from pyro_dgm.data import digits
from pyro_dgm.distributions.likelihoods import Bernoulli
from pyro_dgm.guides import AmortizedNormal
from pyro_dgm.inference import nuts
from pyro_dgm.models import VAE, InverseProblem
from pyro_dgm.nets import ConvEncoder, MLPDecoder
from pyro_dgm.training import fit

LATENT_DIM, NOISE, ROWS_SEEN = 8, 0.1, 4


def trained_vae(steps: int) -> VAE:
    shape = torch.Size((1, 8, 8))
    guide = AmortizedNormal(ConvEncoder(shape, LATENT_DIM, width=8, norm=None))
    decoder = MLPDecoder(LATENT_DIM, shape, (64, 64), output="logits")
    vae = VAE(decoder, LATENT_DIM, likelihood=Bernoulli(event_dim=3), guide=guide)
    fit(vae, digits(binarize="dynamic"), steps=steps, schedule="cosine", progress=False)
    return vae


def upper_half(x: Tensor) -> Tensor:
    return x[..., :ROWS_SEEN, :]


def picture(truth: Tensor, draws: Tensor, path: Path) -> None:
    """A row each: the image, what is seen of it, the posterior's mean and its spread."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    seen = truth.clone()
    seen[..., ROWS_SEEN:, :] = 0.5
    rows = {
        "image": truth,
        "seen": seen,
        "posterior mean": draws.mean(0),
        "posterior sd, × 5": 5 * draws.std(0),
    }
    figure, axes = pyplot.subplots(4, 10, figsize=(10, 4.4))
    for line, (title, images) in zip(axes, rows.items(), strict=True):
        for axis, image in zip(line, images[:10], strict=True):
            axis.imshow(image[0], cmap="gray", vmin=0, vmax=1)
            axis.set_xticks([])
            axis.set_yticks([])
        line[0].set_ylabel(title, rotation=0, ha="right", va="center")
    figure.savefig(path, dpi=110, bbox_inches="tight")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=50)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    vae = trained_vae(options.steps)
    problem = InverseProblem(vae, upper_half, NOISE)
    with torch.no_grad():
        truth = problem.generate(problem.prior().sample((options.images,)))
        y = problem.observation(truth).sample()
        prior_draws = problem.generate(problem.prior().sample((20_000,)))
    # One chain over all images at once: their posteriors are independent, and so are their coordinates.
    run = nuts(problem, y, num_samples=options.samples, warmup_steps=options.samples, seed=0)
    with torch.no_grad():
        draws = problem.generate(run.samples["z"].reshape(-1, options.images, LATENT_DIM))
    hidden = torch.zeros(8, 8, dtype=torch.bool)
    hidden[ROWS_SEEN:] = True
    counted = (prior_draws.std(0)[0] > 0.05) & hidden
    low, high = draws.quantile(torch.tensor([0.05, 0.95]), 0)
    covered = ((truth >= low) & (truth <= high))[:, 0, counted].float().mean()
    error = (draws.mean(0) - truth)[:, 0, counted].square().mean().sqrt()
    mean_image = (prior_draws.mean(0) - truth)[:, 0, counted].square().mean().sqrt()
    lines = [
        f"{options.images} digits of 8 x 8 pixels drawn from a VAE (q = {LATENT_DIM}), upper half seen with "
        f"noise {NOISE}; {options.samples} samples of NUTS, least ESS {run.effective_samples:.0f}; "
        f"{int(counted.sum())} hidden pixels of prior sd above 0.05. torch {torch.__version__}.",
        "",
        f"- 90 % intervals cover {100 * covered:.1f} % of them.",
        f"- Root mean square error of the posterior mean {error:.3f}, of the mean image {mean_image:.3f}: "
        f"{mean_image / error:.2f} times less.",
    ]
    print("\n".join(lines))
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "inpainting.md").write_text("\n".join(lines) + "\n")
    picture(truth, draws, options.out / "inpainting.png")


if __name__ == "__main__":
    main()
