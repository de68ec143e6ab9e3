"""A small residual generator and critic of images."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, relu

from pyro_dgm.errors import ShapeError
from pyro_dgm.nets.conv_encoder import check_images
from pyro_dgm.nets.dcgan import doublings
from pyro_dgm.nets.norm import Norm, norm_layer
from pyro_dgm.nets.output import Output, squashing

__all__ = ["ResNetCritic", "ResNetGenerator"]


class _Block(nn.Module):
    """Two convolutions beside a shortcut, between two sizes: ``scale`` 2 doubles, 0.5 halves, 1 keeps."""

    def __init__(self, inputs: int, outputs: int, scale: float, norm: Norm | None, *, first: bool = False):
        super().__init__()
        self.scale, self.first = scale, first  # the first block of a critic meets pixels, not features
        self.norms = nn.ModuleList([norm_layer(None if first else norm, inputs), norm_layer(norm, outputs)])
        self.one = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.two = nn.Conv2d(outputs, outputs, 3, padding=1)
        same = inputs == outputs and scale == 1
        self.shortcut = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = x if self.first else relu(self.norms[0](x))
        h = self.one(_grown(h, self.scale))
        h = self.two(relu(self.norms[1](h)))
        sum_: Tensor = _shrunk(h, self.scale) + _shrunk(self.shortcut(_grown(x, self.scale)), self.scale)
        return sum_


def _grown(x: Tensor, scale: float) -> Tensor:
    return interpolate(x, scale_factor=scale) if scale > 1 else x


def _shrunk(x: Tensor, scale: float) -> Tensor:
    return avg_pool2d(x, 2) if scale < 1 else x


class ResNetGenerator(nn.Module):
    """Turns codes into images by residual blocks, each doubling the image.

    Args:
        latent_dim: Size of the code.
        data_shape: Shape ``(C, H, W)`` of an image that halves down to 4 to 7 pixels.
        width: Channels of all blocks.
        norm: Normalisation, see :func:`~pyro_dgm.nets.norm.norm_layer`.
        output: ``"tanh"``, ``"sigmoid"`` or ``"logits"``.

    Shape:
        Input ``(*batch, latent_dim)``; output ``(*batch, C, H, W)``.

    Reference:
        Gulrajani et al., Improved Training of Wasserstein GANs, NeurIPS 2017, appendix.
        https://arxiv.org/abs/1704.00028

    Example:
        >>> import torch
        >>> ResNetGenerator(10, (1, 8, 8), width=8)(torch.randn(2, 10)).shape
        torch.Size([2, 1, 8, 8])
    """

    def __init__(
        self,
        latent_dim: int = 128,
        data_shape: Sequence[int] = (3, 32, 32),
        *,
        width: int = 64,
        norm: Norm | None = "batch",
        output: Output = "tanh",
    ) -> None:
        super().__init__()
        number = doublings(data_shape)
        self.latent_dim, self.data_shape = latent_dim, tuple(data_shape)
        channels, height, columns = self.data_shape
        self.start_shape = (width, height // 2**number, columns // 2**number)
        self.linear = nn.Linear(latent_dim, width * self.start_shape[1] * self.start_shape[2])
        blocks = [_Block(width, width, 2, norm) for _ in range(number)]
        last = nn.Conv2d(width, channels, 3, padding=1)
        self.layers = nn.Sequential(*blocks, norm_layer(norm, width), nn.ReLU(), last, squashing(output))

    def forward(self, z: Tensor) -> Tensor:
        """Return the images of the codes ``z``."""
        if z.shape[-1:] != (self.latent_dim,):
            raise ShapeError(
                f"{type(self).__name__} was built for codes of size latent_dim={self.latent_dim}, but z has "
                f"shape {tuple(z.shape)}. Pass codes of shape (*batch, {self.latent_dim})."
            )
        images: Tensor = self.layers(self.linear(z).view(-1, *self.start_shape))
        return images.view(*z.shape[:-1], *self.data_shape)


class ResNetCritic(nn.Module):
    """Scores images by residual blocks, the mean over pixels and one linear layer.

    Args:
        data_shape: Shape ``(C, H, W)`` of an image that halves down to 4 to 7 pixels.
        width: Channels of all blocks.
        norm: Normalisation; None, ``"layer"`` or ``"group"`` where a gradient penalty is used.

    Shape:
        Input ``(*batch, C, H, W)``; output ``(*batch,)``, without a sigmoid.

    Example:
        >>> import torch
        >>> ResNetCritic((1, 8, 8), width=8)(torch.rand(5, 1, 8, 8)).shape
        torch.Size([5])
    """

    def __init__(
        self, data_shape: Sequence[int] = (3, 32, 32), *, width: int = 64, norm: Norm | None = None
    ) -> None:
        super().__init__()
        number = doublings(data_shape)
        channels, height, columns = data_shape
        self.data_shape = (channels, height, columns)
        first = _Block(channels, width, 0.5, norm, first=True)
        halving = [_Block(width, width, 0.5, norm) for _ in range(number - 1)]
        self.layers = nn.Sequential(first, *halving, _Block(width, width, 1, norm), nn.ReLU())
        self.linear = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return one score for each of the images ``x``."""
        batch = check_images(x, self.data_shape, type(self).__name__)
        features = self.layers(x.reshape(-1, *self.data_shape)).mean((-2, -1))
        return self.linear(features).view(batch)  # type: ignore[no-any-return]
