"""The VAEs on MNIST that ``benchmarks.vae_mnist`` trains, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from pyro_dgm.data import ImageData
from pyro_dgm.data.images import Binarization
from pyro_dgm.distributions import VampPrior
from pyro_dgm.distributions.likelihoods import Bernoulli, ContinuousBernoulli
from pyro_dgm.flows import IAF
from pyro_dgm.guides import AmortizedFlow, AmortizedNormal
from pyro_dgm.models import VAE
from pyro_dgm.nets import burda_decoder, burda_encoder, lecture_decoder, lecture_encoder
from pyro_dgm.objectives import ELBO, IWAE

__all__ = ["RUNS", "VAERun"]


@dataclass(frozen=True)
class VAERun:
    """One model, one objective, one kind of pixels.

    Attributes:
        what: One line for the table.
        binarize: The binarisation of the images, or None for grey pixels.
        build: Makes the VAE for the data.
        objective: Makes the loss of the VAE.
        batch_size: Rows of each batch.
        lr: Learning rate at the start; it falls along a cosine to a hundredth.
        bar: The figure to reach, or None.
        figure: Which figure the bar is about: ``"-ELBO"`` or ``"-log p"``.
    """

    what: str
    binarize: Binarization | None
    build: Callable[[ImageData], VAE]
    objective: Callable[[VAE], torch.nn.Module]
    batch_size: int = 100
    lr: float = 1e-3
    bar: float | None = None
    figure: str = "-log p"


def _burda(data: ImageData) -> VAE:
    guide = AmortizedNormal(burda_encoder())
    vae = VAE(burda_decoder(), 50, likelihood=Bernoulli(event_dim=3), guide=guide)
    return _with_mean_pixels(vae, data)


def _with_mean_pixels(vae: VAE, data: ImageData) -> VAE:
    """Start the last bias at the logits of the mean image, as the published code does."""
    mean = data.train.mean(0).flatten().clamp(1e-3, 1 - 1e-3)
    last = vae.decoder.mlp.layers[-1]
    with torch.no_grad():
        last.bias.copy_(mean.logit())
    return vae


def _burda_vamp(data: ImageData) -> VAE:
    guide = AmortizedNormal(burda_encoder())
    generator = torch.Generator().manual_seed(0)
    rows = data.batch(torch.randperm(len(data.train), generator=generator)[:500], generator)
    prior = VampPrior(guide, rows)
    vae = VAE(burda_decoder(), 50, likelihood=Bernoulli(event_dim=3), guide=guide, prior=prior)
    return _with_mean_pixels(vae, data)


def _burda_iaf(data: ImageData) -> VAE:
    flow = IAF(50, 100, num_layers=2, hidden_dims=(640,))
    guide = AmortizedFlow(burda_encoder(extra_dim=100), flow)
    return _with_mean_pixels(VAE(burda_decoder(), 50, likelihood=Bernoulli(event_dim=3), guide=guide), data)


def _iwae(vae: VAE) -> IWAE:
    return IWAE(vae, num_particles=50)


def _lecture(data: ImageData) -> VAE:
    guide = AmortizedNormal(lecture_encoder())
    return VAE(lecture_decoder(), 2, likelihood=Bernoulli(event_dim=3, grey=True), guide=guide)


def _lecture_binary(data: ImageData) -> VAE:
    guide = AmortizedNormal(lecture_encoder())
    return VAE(lecture_decoder(), 2, likelihood=Bernoulli(event_dim=3), guide=guide)


def _lecture_continuous(data: ImageData) -> VAE:
    guide = AmortizedNormal(lecture_encoder())
    return VAE(lecture_decoder(), 2, likelihood=ContinuousBernoulli(event_dim=3), guide=guide)


def _elbo(vae: VAE) -> ELBO:
    return ELBO(vae, kl="analytic")


RUNS: dict[str, VAERun] = {
    "elbo-dynamic": VAERun(
        "784-200-200-50, diagonal normal, trained with the ELBO", "dynamic", _burda, _elbo, bar=87.5
    ),
    "iwae50-dynamic": VAERun(
        "784-200-200-50, diagonal normal, trained with IWAE, K = 50", "dynamic", _burda, _iwae, bar=87.0
    ),
    "diagonal-dynamic": VAERun(
        "784-200-200-50, diagonal normal, trained as iaf-dynamic is",
        "dynamic",
        _burda,
        lambda vae: ELBO(vae, kl="analytic", warm_up=10_000),
        batch_size=250,
        lr=2e-3,
        figure="-ELBO",
    ),
    "iaf-dynamic": VAERun(
        "784-200-200-50, two inverse autoregressive layers, trained with the ELBO",
        "dynamic",
        _burda_iaf,
        lambda vae: ELBO(vae, warm_up=10_000),
        batch_size=250,
        lr=2e-3,
        figure="-ELBO",
    ),
    "standard-fixed": VAERun(
        "784-200-200-50, prior N(0, I), trained with the ELBO",
        "fixed",
        _burda,
        lambda vae: ELBO(vae, kl="analytic", warm_up=2000),
        batch_size=250,
        lr=2e-3,
    ),
    "vamp-fixed": VAERun(
        "784-200-200-50, VampPrior of 500, trained with the ELBO",
        "fixed",
        _burda_vamp,
        lambda vae: ELBO(vae, warm_up=2000),
        batch_size=250,
        lr=2e-3,
    ),
    "lecture-grey": VAERun(
        "the lecture's networks, q = 2, cross-entropy of grey pixels",
        None,
        _lecture,
        _elbo,
        batch_size=64,
        bar=150.0,
        figure="-ELBO",
    ),
    "lecture-dynamic": VAERun(
        "the lecture's networks, q = 2, binary pixels",
        "dynamic",
        _lecture_binary,
        _elbo,
        batch_size=64,
        figure="-ELBO",
    ),
    "lecture-continuous": VAERun(
        "the lecture's networks, q = 2, continuous Bernoulli density of grey pixels",
        None,
        _lecture_continuous,
        _elbo,
        batch_size=64,
        figure="-ELBO",
    ),
}
