"""What is measured and shown of a trained VAE."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from pyro_dgm import plotting
from pyro_dgm.data import ImageData
from pyro_dgm.metrics import log_weights
from pyro_dgm.models import VAE
from pyro_dgm.models.generative_model import evaluating, seeded
from pyro_dgm.recipes import Run, Trial
from pyro_dgm.report.batch_mode import batch_mode_row
from pyro_dgm.report.energy_rows import energy_rows
from pyro_dgm.report.findings import Findings
from pyro_dgm.report.measurement import Measurement
from pyro_dgm.report.page import Picture

__all__ = ["vae_findings", "vae_rows"]

MOST_IMAGES = 1000


def vae_findings(trial: Trial, *, num_particles: int = 500, seed: int = 1) -> Findings:
    """Measure a VAE's bounds on the test images and its samples, and draw it.

    Args:
        trial: The trained VAE.
        num_particles: Number ``K`` of importance samples of each image.
        seed: Seed of all draws.
    """
    data, model = trial.data, trial.model
    assert isinstance(data, ImageData)
    assert isinstance(model, VAE)
    return Findings(vae_rows(trial, data, num_particles, seed), _pictures(trial, data, model, seed))


def vae_rows(run: Run, data: ImageData, num_particles: int = 500, seed: int = 1) -> list[Measurement]:
    """Measure the bounds of a VAE on test images, and its samples."""
    model = run.model
    assert isinstance(model, VAE)
    return [
        *_bounds(run, data, model, num_particles, seed),
        *energy_rows(run, data, seed=seed),
        batch_mode_row(run.name, data.name, model.decoder, model.latent_dim),
    ]


def _bounds(run: Run, data: ImageData, model: VAE, num: int, seed: int) -> list[Measurement]:
    guide: Any = model.guide
    with seeded(seed):
        images = data.test
        if len(images) > MOST_IMAGES:  # drawn at random: the halves of MNIST's test set differ
            images = images[torch.randperm(len(images))[:MOST_IMAGES]]
        weights = log_weights(model, guide, images, num)
    elbo, iwae = weights.mean(0), weights.logsumexp(0) - math.log(num)
    effective = (2 * weights.logsumexp(0) - (2 * weights).logsumexp(0)).exp()
    pixels = _per_pixel_nll(data)
    unit, rows = "nats per image", f"mean over {len(images)} test images ± standard error"
    name = f"-IWAE, K = {num}"
    return [
        Measurement(
            run.name,
            data.name,
            "-ELBO",
            -elbo.mean().item(),
            unit,
            f"≥ {name} = {-iwae.mean().item():.3f}",
            f"{rows}; an upper bound of the NLL; {num} draws each",
            _standard_error(elbo),
            holds=elbo.mean().item() <= iwae.mean().item(),
        ),
        Measurement(
            run.name,
            data.name,
            name,
            -iwae.mean().item(),
            unit,
            f"NLL ≥ 0; independent pixels score {pixels:.3f}",
            f"{rows}; an upper bound of the NLL in expectation; effective draws: median "
            f"{effective.median().item():.0f}, least {effective.min().item():.1f}",
            _standard_error(iwae),
            holds=0 <= -iwae.mean().item() < pixels,
        ),
    ]


def _per_pixel_nll(data: ImageData) -> float:
    """The NLL of the test images under independent pixels with the frequencies of the training images."""
    n = len(data.train)
    frequency = (data.train.sum(0) + 0.5) / (n + 1)
    pixels = torch.distributions.Bernoulli(frequency, validate_args=False)
    return -float(pixels.log_prob(data.test).flatten(1).sum(1).mean())


@torch.no_grad()
def _pictures(trial: Trial, data: ImageData, model: VAE, seed: int) -> list[Picture]:
    x, labels = data.test, data.test_labels
    guide: Any = model.guide
    with evaluating(model), seeded(seed):
        posterior = guide.posterior(x)
        z, means = posterior.sample(), posterior.mean
        decoded = model.decode(means[:30]).mean
        drawn = model.decode(model.prior().sample(torch.Size([64]))).mean
    name = trial.name
    pictures = [
        Picture.of(
            plotting.reconstructions(x[:30], decoded, title="x above g(mean of q(z | x))"),
            f"Test images of {data.name} above the means of their reconstructions.",
        ),
        Picture.of(
            plotting.image_grid(drawn, title="prior samples: the means g(z)"),
            "Means of p(x | z) for z from the prior: they look smoother than samples are.",
        ),
        Picture.of(
            plotting.image_grid(model.sample(64, seed=seed), title="prior samples x"),
            "Samples x of the model, pixels drawn: what the energy distance is computed from.",
        ),
        Picture.of(plotting.image_grid(x[:64], title="test images"), f"Real test images of {data.name}."),
    ]
    if model.latent_dim == 2:
        pictures.append(
            Picture.of(
                plotting.latent_scatter(z, labels, title="posterior samples by class"),
                "One posterior sample for each test image, by class, with the prior's standard deviations.",
            )
        )
    curve = plotting.training_curve(
        {"-ELBO": trial.history["loss"].tolist()},
        floors={"independent pixels": _per_pixel_nll(data)},
        ylabel="nats per image",
        title=f"{name}: training",
    )
    pictures.append(Picture.of(curve, "Negative ELBO on each batch, one draw an image."))
    return pictures


def _standard_error(values: Tensor) -> float:
    return float(values.std()) / math.sqrt(len(values))
