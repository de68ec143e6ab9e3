"""The image networks of the lecture by name: 28x28 pixels, width 32, two latent dimensions."""

from __future__ import annotations

from pyro_dgm.nets.conv_critic import ConvCritic
from pyro_dgm.nets.conv_decoder import ConvDecoder
from pyro_dgm.nets.conv_encoder import ConvEncoder
from pyro_dgm.nets.norm import Norm
from pyro_dgm.nets.output import Output

__all__ = ["lecture_critic", "lecture_decoder", "lecture_encoder"]

_IMAGE = (1, 28, 28)


def lecture_encoder(norm: Norm | None = None, *, width: int = 32, latent_dim: int = 2) -> ConvEncoder:
    """Return the encoder e(z | x) of the lecture's VAE; as published it has no normalisation.

    Example:
        >>> sum(p.numel() for p in lecture_encoder().parameters())
        45924
    """
    return ConvEncoder(_IMAGE, latent_dim, width=width, norm=norm)


def lecture_decoder(
    norm: Norm | None = "batch", *, width: int = 32, latent_dim: int = 2, output: Output = "logits"
) -> ConvDecoder:
    """Return the lecture's decoder, also the generator of its GANs; as published with batch normalisation.

    Args:
        norm: Another normalisation, or None.
        width: Channels before the last convolution.
        latent_dim: Size of the code.
        output: ``"logits"`` for a likelihood, ``"sigmoid"`` for a generator (the lecture's last layer).

    Example:
        >>> sum(p.numel() for p in lecture_decoder().parameters())
        42913
    """
    return ConvDecoder(latent_dim, _IMAGE, width=width, norm=norm, output=output)


def lecture_critic(norm: Norm | None = "batch", *, width: int = 32) -> ConvCritic:
    """Return the lecture's discriminator and critic; as published with batch normalisation.

    Its last sigmoid is left out: the losses take logits, and a Wasserstein critic has none. With a gradient
    penalty, ask for ``norm=None``, ``"layer"`` or ``"group"``.

    Example:
        >>> sum(p.numel() for p in lecture_critic().parameters())
        36705
    """
    return ConvCritic(_IMAGE, width=width, norm=norm)
