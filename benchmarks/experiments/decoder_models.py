"""The models of experiment A: the lecture's decoder in every family."""

from __future__ import annotations

import copy
from typing import Any

import torch
from sklearn.cluster import MiniBatchKMeans
from torch import Tensor, nn
from torch.optim import Adam, RMSprop

from pyro_dgm import data, nets
from pyro_dgm.distributions.likelihoods import Bernoulli
from pyro_dgm.flows import NeuralSpline
from pyro_dgm.guides import AmortizedNormal
from pyro_dgm.models import VAE, Autoencoder, ImplicitGenerator, NormalizingFlow
from pyro_dgm.objectives import Adversarial, GradientPenalty, WeightClipping
from pyro_dgm.training import fit

GAMES: dict[str, dict[str, Any]] = {
    "GAN, minimax": {"loss": "minimax", "norm": "layer"},
    "GAN, non-saturating": {"loss": "non-saturating", "norm": "layer"},
    "WGAN, clipped": {"loss": "wasserstein", "norm": None, "regularisers": lambda: [WeightClipping(0.02)]},
    "WGAN-GP": {"loss": "wasserstein", "norm": None, "regularisers": lambda: [GradientPenalty(10.0)]},
    "hinge, spectral norm": {"loss": "hinge", "norm": None, "spectral": True},
}


class Rows(nn.Module):
    """Gives one of so many fixed images: no model, but a competitor."""

    def __init__(self, images: Tensor) -> None:
        super().__init__()
        self.register_buffer("images", images)

    def forward(self, z: Tensor) -> Tensor:
        """Return the image that the first latent chooses."""
        place = torch.special.ndtr(z[..., 0]).clamp(max=0.999999)
        return self.images[(place * len(self.images)).long()]  # type: ignore[index, no-any-return]


class Decoded(nn.Module):
    """A flow over the standardised codes of an autoencoder that is frozen: z to codes to images, and back."""

    def __init__(self, flow: NormalizingFlow, auto: Autoencoder, centre: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.flow, self.auto = copy.deepcopy(flow.flow), auto.requires_grad_(False)
        self.register_buffer("centre", centre)
        self.register_buffer("scale", scale)

    def forward(self, z: Tensor) -> Tensor:
        """Return images."""
        return torch.sigmoid(self.auto.decoder(self.flow.transform()(z) * self.scale + self.centre))

    def encode(self, x: Tensor) -> Tensor:
        """Return the latents of images."""
        return self.flow.transform().inv((self.auto.encode(x) - self.centre) / self.scale)  # type: ignore[no-any-return]


def vae(images: data.ImageData, q: int, updates: int, seed: int) -> VAE:
    torch.manual_seed(seed)
    model = VAE(
        nets.lecture_decoder(latent_dim=q),
        q,
        likelihood=Bernoulli(3),
        guide=AmortizedNormal(nets.lecture_encoder(latent_dim=q)),
    )
    fit(model, images, steps=updates, batch_size=64, schedule="cosine", seed=seed, progress=False)
    return model.eval()


def latent_flow(images: data.ImageData, q: int, updates: int, seed: int) -> ImplicitGenerator:
    """An autoencoder, frozen, and a flow over its codes."""
    torch.manual_seed(seed)
    auto = Autoencoder(
        nets.lecture_encoder(latent_dim=q), nets.lecture_decoder(latent_dim=q), q, likelihood=Bernoulli(3)
    )
    fit(auto, images, steps=updates, batch_size=64, schedule="cosine", seed=seed, progress=False)
    auto.eval()
    with torch.no_grad():
        codes = torch.cat([auto.encode(part) for part in images.train.split(1000)])
    centre, scale = codes.mean(0), codes.std(0)
    flow = NormalizingFlow(NeuralSpline(q, num_layers=4, hidden_dims=(64, 64), affine=True))
    fit(flow, (codes - centre) / scale, steps=updates, batch_size=256, schedule="cosine", progress=False)
    return ImplicitGenerator(Decoded(flow, auto, centre, scale), q, data_shape=images.event_shape).eval()


def game(name: str, grey: data.ImageData, start: VAE | None, q: int, updates: int, seed: int) -> nn.Module:
    """Play one game, and return the averaged generator."""
    chosen = GAMES[name]
    torch.manual_seed(seed)
    if start is None:
        model = ImplicitGenerator(nets.lecture_decoder(latent_dim=q, output="sigmoid"), q)
    else:
        model = ImplicitGenerator.from_vae(start)
    critic: nn.Module = nets.lecture_critic(chosen["norm"])
    if chosen.get("spectral"):
        critic = nets.with_spectral_norm(critic)
    clipped = name == "WGAN, clipped"
    pair = tuple(
        RMSprop(net.parameters(), 2e-4) if clipped else Adam(net.parameters(), 4e-4, betas=(0.0, 0.99))
        for net in (model, critic)
    )
    regularisers = chosen.get("regularisers", list)()
    played = Adversarial(
        model,
        critic,
        pair,
        loss=chosen["loss"],
        regularisers=regularisers,
        average=0.995,
        on_divergence="ignore",
    )
    fit(played, grey, steps=updates, batch_size=64, seed=seed, progress=False, log_every=50)
    return played.averaged.eval()


def competitors(grey: data.ImageData, q: int, seed: int) -> dict[str, ImplicitGenerator]:
    """Centres of clusters, and the mean image."""
    rows = grey.train[:20_000].flatten(1).numpy()
    centres = MiniBatchKMeans(64, n_init=1, random_state=seed).fit(rows).cluster_centers_
    images = torch.from_numpy(centres).float().reshape(-1, *grey.event_shape).clamp(0, 1)
    mean = grey.train.mean(0, keepdim=True)
    return {
        "64 centres": ImplicitGenerator(Rows(images), q, data_shape=grey.event_shape),
        "mean image": ImplicitGenerator(Rows(mean), q, data_shape=grey.event_shape),
    }
