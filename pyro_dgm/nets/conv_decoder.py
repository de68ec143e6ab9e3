"""A small convolutional decoder, or generator, of images."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from pyro_dgm.errors import ShapeError
from pyro_dgm.nets.conv_encoder import check_image_shape
from pyro_dgm.nets.norm import Norm, norm_layer
from pyro_dgm.nets.output import Output, squashing

__all__ = ["ConvDecoder"]


class ConvDecoder(nn.Module):
    """Turns codes into images: a linear map and two transposed convolutions, each doubling the image.

    For 28x28 images, ``width=32`` and ``latent_dim=2`` it is the decoder of the lecture (42,913
    parameters), which is also the generator of its adversarial models.

    Args:
        latent_dim: Size ``q`` of the code.
        data_shape: Shape ``(C, H, W)`` of an image; ``H`` and ``W`` are divisible by 4.
        width: Channels before the last convolution; twice as many before that.
        norm: Normalisation before each ReLU, see :func:`~pyro_dgm.nets.norm.norm_layer`. The lecture's
            ``"batch"`` makes an image depend on the other rows while training.
        output: What the last layer gives: ``"logits"`` for a likelihood, ``"sigmoid"`` or ``"tanh"`` for a
            generator of data in [0, 1] or [-1, 1].

    Shape:
        Input ``(*batch, q)``; output ``(*batch, C, H, W)``.

    Raises:
        ShapeError: If a code has another size than ``latent_dim``.

    Reference:
        Ruthotto and Haber, An introduction to deep generative modeling, GAMM-Mitteilungen 2021.
        https://arxiv.org/abs/2103.05180

    Example:
        >>> import torch
        >>> ConvDecoder(2, (1, 8, 8))(torch.randn(3, 5, 2)).shape
        torch.Size([3, 5, 1, 8, 8])
    """

    def __init__(
        self,
        latent_dim: int = 2,
        data_shape: Sequence[int] = (1, 28, 28),
        *,
        width: int = 32,
        norm: Norm | None = "batch",
        output: Output = "logits",
    ) -> None:
        super().__init__()
        channels, height, columns = self.data_shape = check_image_shape(data_shape)
        self.latent_dim = latent_dim
        self.start_shape = (2 * width, height // 4, columns // 4)
        self.linear = nn.Linear(latent_dim, 2 * width * (height // 4) * (columns // 4))
        self.layers = nn.Sequential(
            norm_layer(norm, 2 * width),
            nn.ReLU(),
            nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1),
            norm_layer(norm, width),
            nn.ReLU(),
            nn.ConvTranspose2d(width, channels, 4, stride=2, padding=1),
        )
        self.squash = squashing(output)

    def forward(self, z: Tensor) -> Tensor:
        """Return the images of the codes ``z``."""
        if z.shape[-1:] != (self.latent_dim,):
            raise ShapeError(
                f"{type(self).__name__} was built for codes of size latent_dim={self.latent_dim}, but z has "
                f"shape {tuple(z.shape)}. Pass codes of shape (*batch, {self.latent_dim})."
            )
        start = self.linear(z).view(-1, *self.start_shape)
        return self.squash(self.layers(start)).view(*z.shape[:-1], *self.data_shape)  # type: ignore[no-any-return]
