"""Spectral normalisation of a whole network."""

from __future__ import annotations

from typing import TypeVar

from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

__all__ = ["with_spectral_norm"]

Network = TypeVar("Network", bound=nn.Module)

_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.Bilinear)


def with_spectral_norm(network: Network, *, iterations: int = 1) -> Network:
    """Divide each weight of linear and convolutional layers by its largest singular value, and return it.

    With activations of slope at most 1 a perceptron is then 1-Lipschitz, up to the error of the power
    iteration, which runs in training mode only. A convolution's weight is taken as a matrix with one row for
    each output channel, as published: the convolution itself may have a larger norm, at most by the square
    root of the number of its kernel's pixels. Other layers, such as normalisations, are left as they are.

    Args:
        network: The network, which is changed.
        iterations: Power iterations a pass.

    Reference:
        Miyato, Kataoka, Koyama and Yoshida, Spectral Normalization for Generative Adversarial Networks, ICLR
        2018. https://arxiv.org/abs/1802.05957

    Example:
        >>> layer = with_spectral_norm(nn.Linear(3, 3), iterations=50)
        >>> round(float(layer.weight.svd().S.max().detach()), 3)
        1.0
    """
    for part in list(network.modules()):
        if isinstance(part, _LAYERS):
            spectral_norm(part, n_power_iterations=iterations)
    return network
