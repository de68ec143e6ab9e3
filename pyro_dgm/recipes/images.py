"""Recipes for images: a VAE, a convolutional GAN and a Wasserstein GAN of perceptrons."""

from __future__ import annotations

import torch
from torch import nn
from torch.optim import Adam

from pyro_dgm.distributions.likelihoods import Bernoulli
from pyro_dgm.guides import AmortizedNormal
from pyro_dgm.models import VAE, GenerativeModel, ImplicitGenerator
from pyro_dgm.nets import ConvCritic, ConvDecoder, ConvEncoder, MLPCritic, MLPDecoder
from pyro_dgm.objectives import ELBO, Adversarial, GradientPenalty
from pyro_dgm.recipes.recipe import Options, Recipe

__all__ = ["DCGAN", "VAE_RECIPE", "WGAN_GP"]


def _vae(event_shape: torch.Size, options: Options) -> GenerativeModel:
    latent_dim, width, norm = options["latent_dim"], options["width"], options["norm"]
    guide = AmortizedNormal(ConvEncoder(event_shape, latent_dim, width=width, norm=norm))
    decoder = ConvDecoder(latent_dim, event_shape, width=width, norm=norm, output="logits")
    return VAE(decoder, latent_dim, likelihood=Bernoulli(event_dim=3), guide=guide)


def _bound(model: GenerativeModel, options: Options) -> ELBO:
    return ELBO(model)


def _convolutional_generator(event_shape: torch.Size, options: Options) -> GenerativeModel:
    decoder = ConvDecoder(
        options["latent_dim"],
        event_shape,
        width=options["width"],
        norm=options["norm"],
        output="sigmoid",
    )
    return ImplicitGenerator(decoder, options["latent_dim"], data_shape=event_shape)


def _perceptron_generator(event_shape: torch.Size, options: Options) -> GenerativeModel:
    decoder = MLPDecoder(options["latent_dim"], event_shape, options["hidden_dims"], output="sigmoid")
    return ImplicitGenerator(decoder, options["latent_dim"], data_shape=event_shape)


def _convolutional_game(model: GenerativeModel, options: Options) -> Adversarial:
    assert isinstance(model, ImplicitGenerator)
    critic = ConvCritic(model.data_shape, width=options["critic_width"], norm=options["critic_norm"])
    return _game(model, critic, options)


def _perceptron_game(model: GenerativeModel, options: Options) -> Adversarial:
    assert isinstance(model, ImplicitGenerator)
    return _game(model, MLPCritic(model.data_shape, options["critic_hidden_dims"]), options)


def _game(model: ImplicitGenerator, critic: nn.Module, options: Options) -> Adversarial:
    betas = (options["betas"][0], options["betas"][1])
    weight = options["gradient_penalty"]
    return Adversarial(
        model,
        critic,
        (_adam(model, options["lr"], betas), _adam(critic, options["critic_lr"], betas)),
        loss=options["loss"],
        regularisers=[GradientPenalty(weight)] if weight else [],
        critic_steps=options["critic_steps"],
        average=options["average"],
    )


def _adam(module: nn.Module, lr: float, betas: tuple[float, float]) -> Adam:
    return Adam(module.parameters(), lr=lr, betas=betas, fused=True)


VAE_RECIPE = Recipe(
    name="vae",
    summary="variational autoencoder with a Bernoulli likelihood, by the evidence lower bound",
    event="image",
    options={"latent_dim": 2, "width": 32, "norm": "group"},
    training={"steps": 2500, "batch_size": 128, "lr": 2e-3, "schedule": "cosine"},
    make_model=_vae,
    make_objective=_bound,
    data="digits",
    data_options={"binarize": "threshold"},
)

DCGAN = Recipe(
    name="dcgan",
    summary="convolutional generator against a discriminator, non-saturating game",
    event="image",
    options={
        "latent_dim": 32,
        "width": 32,
        "norm": "batch",
        "critic_width": 32,
        "critic_norm": "layer",
        "loss": "non-saturating",
        "lr": 1e-3,
        "critic_lr": 3e-4,
        "betas": [0.5, 0.999],
        "gradient_penalty": 0.0,
        "critic_steps": 1,
        "average": 0.999,
    },
    training={"steps": 3500, "batch_size": 64},
    make_model=_convolutional_generator,
    make_objective=_convolutional_game,
    data="digits",
)

WGAN_GP = Recipe(
    name="wgan-gp",
    summary="generator against a critic of slope 1, Wasserstein game with gradient penalty",
    event="image",
    options={
        "latent_dim": 16,
        "hidden_dims": [256, 256],
        "critic_hidden_dims": [256, 256],
        "loss": "wasserstein",
        "lr": 1e-3,
        "critic_lr": 1e-3,
        "betas": [0.0, 0.9],
        "gradient_penalty": 10.0,
        "critic_steps": 2,
        "average": 0.999,
    },
    training={"steps": 7000, "batch_size": 64},
    make_model=_perceptron_generator,
    make_objective=_perceptron_game,
    data="digits",
)
