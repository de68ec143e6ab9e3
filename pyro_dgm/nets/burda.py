"""The one-layer networks of the importance-weighted autoencoder's paper: 784-200-200-50."""

from __future__ import annotations

from torch import nn

from pyro_dgm.nets.mlp_decoder import MLPDecoder
from pyro_dgm.nets.mlp_encoder import MLPEncoder

__all__ = ["burda_decoder", "burda_encoder"]

_IMAGE, _HIDDEN = (1, 28, 28), (200, 200)


def burda_encoder(*, latent_dim: int = 50, extra_dim: int = 0) -> MLPEncoder:
    """Return the encoder of the paper's models with one stochastic layer: two hidden layers of 200, tanh.

    Args:
        latent_dim: Size of the code.
        extra_dim: Size of a third output, see :class:`~pyro_dgm.nets.MLPEncoder`.

    Reference:
        Burda, Grosse and Salakhutdinov, Importance Weighted Autoencoders, ICLR 2016.
        https://arxiv.org/abs/1509.00519

    Example:
        >>> sum(p.numel() for p in burda_encoder().parameters())
        217300
    """
    return MLPEncoder(_IMAGE, latent_dim, _HIDDEN, extra_dim=extra_dim, activation=nn.Tanh)


def burda_decoder(*, latent_dim: int = 50) -> MLPDecoder:
    """Return the decoder of the paper's models with one stochastic layer: two hidden layers of 200, tanh.

    Example:
        >>> sum(p.numel() for p in burda_decoder().parameters())
        207984
    """
    return MLPDecoder(latent_dim, _IMAGE, _HIDDEN, activation=nn.Tanh)
