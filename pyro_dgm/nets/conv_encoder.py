"""A small convolutional encoder of images."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from pyro_dgm.errors import ShapeError
from pyro_dgm.nets.norm import Norm, norm_layer

__all__ = ["ConvEncoder", "check_image_shape", "check_images"]


class ConvEncoder(nn.Module):
    """Reads the location and the log-variance of a code off an image.

    Two strided convolutions, each halving the image, and two linear heads. For 28x28 images,
    ``width=32`` and ``latent_dim=2`` it is the encoder of the lecture (45,924 parameters).

    Args:
        data_shape: Shape ``(C, H, W)`` of an image; ``H`` and ``W`` are divisible by 4.
        latent_dim: Size ``q`` of the code.
        width: Channels after the first convolution; twice as many after the second.
        norm: Normalisation after each convolution, see :func:`~pyro_dgm.nets.norm.norm_layer`.

    Shape:
        Input ``(*batch, C, H, W)``; output two tensors ``(*batch, q)``.

    Raises:
        ShapeError: If an image has another shape than ``data_shape``.

    Reference:
        Ruthotto and Haber, An introduction to deep generative modeling, GAMM-Mitteilungen 2021.
        https://arxiv.org/abs/2103.05180

    Example:
        >>> import torch
        >>> loc, logvar = ConvEncoder((1, 8, 8), 2)(torch.rand(5, 1, 8, 8))
        >>> loc.shape, logvar.shape
        (torch.Size([5, 2]), torch.Size([5, 2]))
    """

    def __init__(
        self,
        data_shape: Sequence[int] = (1, 28, 28),
        latent_dim: int = 2,
        *,
        width: int = 32,
        norm: Norm | None = None,
    ) -> None:
        super().__init__()
        channels, height, columns = self.data_shape = check_image_shape(data_shape)
        self.latent_dim = latent_dim
        self.features = nn.Sequential(
            nn.Conv2d(channels, width, 4, stride=2, padding=1),
            norm_layer(norm, width),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
            norm_layer(norm, 2 * width),
            nn.ReLU(),
            nn.Flatten(),
        )
        size = 2 * width * (height // 4) * (columns // 4)
        self.loc, self.logvar = nn.Linear(size, latent_dim), nn.Linear(size, latent_dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return location and log-variance of the codes of the images ``x``."""
        batch = check_images(x, self.data_shape, type(self).__name__)
        h = self.features(x.reshape(-1, *self.data_shape))
        return self.loc(h).view(*batch, self.latent_dim), self.logvar(h).view(*batch, self.latent_dim)


def check_image_shape(data_shape: Sequence[int]) -> tuple[int, int, int]:
    """Return ``data_shape`` as ``(C, H, W)``; two halvings must be exact."""
    shape = tuple(data_shape)
    if len(shape) != 3 or min(shape) < 1 or shape[1] % 4 or shape[2] % 4:
        raise ShapeError(
            f"data_shape must be (C, H, W) with H and W divisible by 4, but got {shape}. "
            "Pad the images, or pass a network of your own."
        )
    return shape


def check_images(x: Tensor, data_shape: tuple[int, int, int], name: str) -> tuple[int, ...]:
    """Return the batch shape of the images ``x``, which must end in ``data_shape``."""
    if tuple(x.shape[-3:]) != data_shape:
        raise ShapeError(
            f"{name} was built for images of shape {data_shape}, but x has shape {tuple(x.shape)}. "
            f"Reshape the data to (*batch, {', '.join(map(str, data_shape))}), channels first."
        )
    return tuple(x.shape[:-3])
