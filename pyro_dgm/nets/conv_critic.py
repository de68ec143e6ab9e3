"""A small convolutional critic, or discriminator, of images."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from pyro_dgm.nets.conv_encoder import check_image_shape, check_images
from pyro_dgm.nets.leaky_relu import LeakyReLU
from pyro_dgm.nets.norm import Norm, norm_layer

__all__ = ["ConvCritic"]


class ConvCritic(nn.Module):
    """Scores images with one unbounded number each: a discriminator's logit, or a critic's value.

    There is no sigmoid: the adversarial losses work on logits. For 28x28 images, ``width=32`` and
    ``norm="batch"`` it is the discriminator of the lecture without its last sigmoid (36,705 parameters).

    Args:
        data_shape: Shape ``(C, H, W)`` of an image; ``H`` and ``W`` are divisible by 4.
        width: Channels after the first convolution; twice as many after the second.
        norm: Normalisation after each convolution, see :func:`~pyro_dgm.nets.norm.norm_layer`. Not
            ``"batch"`` where a gradient penalty is used.
        data_range: Smallest and largest pixel value; images are scaled from there to [-1, 1].

    Shape:
        Input ``(*batch, C, H, W)``; output ``(*batch,)``.

    Raises:
        ShapeError: If an image has another shape than ``data_shape``.

    Reference:
        Radford, Metz and Chintala, Unsupervised Representation Learning with Deep Convolutional Generative
        Adversarial Networks, ICLR 2016. https://arxiv.org/abs/1511.06434

    Example:
        >>> import torch
        >>> ConvCritic((1, 8, 8))(torch.rand(5, 1, 8, 8)).shape
        torch.Size([5])
    """

    def __init__(
        self,
        data_shape: Sequence[int] = (1, 28, 28),
        *,
        width: int = 32,
        norm: Norm | None = None,
        data_range: tuple[float, float] = (0.0, 1.0),
    ) -> None:
        super().__init__()
        channels, height, columns = self.data_shape = check_image_shape(data_shape)
        low, high = data_range
        if not low < high:
            raise ValueError(f"data_range must be (smallest, largest) pixel value, but is {data_range}.")
        self.centre, self.scale = (low + high) / 2, 2 / (high - low)
        self.layers = nn.Sequential(
            nn.Conv2d(channels, width, 4, stride=2, padding=1),
            norm_layer(norm, width),
            LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
            norm_layer(norm, 2 * width),
            LeakyReLU(0.2),
            nn.Flatten(),
            nn.Linear(2 * width * (height // 4) * (columns // 4), 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return one score for each of the images ``x``."""
        batch = check_images(x, self.data_shape, type(self).__name__)
        rows = (x.reshape(-1, *self.data_shape) - self.centre) * self.scale
        return self.layers(rows).view(batch)  # type: ignore[no-any-return]
