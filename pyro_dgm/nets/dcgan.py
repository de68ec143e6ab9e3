"""The networks of DCGAN for images of any size that halves down to 4 to 7 pixels."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from pyro_dgm.errors import ShapeError
from pyro_dgm.nets.conv_encoder import check_images
from pyro_dgm.nets.leaky_relu import LeakyReLU
from pyro_dgm.nets.norm import Norm, norm_layer
from pyro_dgm.nets.output import Output, squashing

__all__ = ["DCGANCritic", "DCGANGenerator", "doublings"]


def doublings(data_shape: Sequence[int]) -> int:
    """Return how often an image halves until its shorter side has 4 to 7 pixels.

    Example:
        >>> doublings((3, 64, 64)), doublings((1, 28, 28))
        (4, 2)

    Raises:
        ShapeError: If it does not halve so far.
    """
    if len(data_shape) != 3:
        raise ShapeError(f"an image has a shape (C, H, W), but data_shape is {tuple(data_shape)}.")
    number, side = 0, min(data_shape[1:])
    while side >= 8:
        number, side = number + 1, side // 2
    if side < 4 or number < 1 or any(size % 2**number for size in data_shape[1:]):
        raise ShapeError(
            f"images of {data_shape[1]} x {data_shape[2]} pixels do not halve down to 4 to 7 pixels a side. "
            "Pad them to a multiple, such as 28, 32 or 64."
        )
    return number


def _initialise(network: nn.Module) -> None:
    for part in network.modules():
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(part.weight, 0.0, 0.02)
        elif isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.weight, 1.0, 0.02)


class DCGANGenerator(nn.Module):
    """Turns codes into images by transposed convolutions with batch normalisation and ReLU.

    As published: weights from N(0, 0.02), no fully connected hidden layer, no normalisation at the output,
    which is a tanh (scale the data to [-1, 1], or ask for a sigmoid). The paper's codes are uniform, 100 of
    them; here they are normal.

    Args:
        latent_dim: Size of the code.
        data_shape: Shape ``(C, H, W)`` of an image.
        width: Channels before the last layer; doubled at each layer towards the code.
        norm: Normalisation, see :func:`~pyro_dgm.nets.norm.norm_layer`.
        output: ``"tanh"``, ``"sigmoid"`` or ``"logits"``.

    Shape:
        Input ``(*batch, latent_dim)``; output ``(*batch, C, H, W)``.

    Reference:
        Radford, Metz and Chintala, Unsupervised Representation Learning with Deep Convolutional Generative
        Adversarial Networks, ICLR 2016. https://arxiv.org/abs/1511.06434

    Example:
        >>> import torch
        >>> DCGANGenerator(10, (3, 32, 32), width=8)(torch.randn(2, 10)).shape
        torch.Size([2, 3, 32, 32])
    """

    def __init__(
        self,
        latent_dim: int = 100,
        data_shape: Sequence[int] = (3, 64, 64),
        *,
        width: int = 64,
        norm: Norm | None = "batch",
        output: Output = "tanh",
    ) -> None:
        super().__init__()
        number = doublings(data_shape)
        self.latent_dim, self.data_shape = latent_dim, tuple(data_shape)
        channels, height, columns = self.data_shape
        widths = [width * 2**i for i in reversed(range(number))]
        start = (height // 2**number, columns // 2**number)
        layers: list[nn.Module] = [
            nn.ConvTranspose2d(latent_dim, widths[0], start, bias=norm is None),
            norm_layer(norm, widths[0]),
            nn.ReLU(),
        ]
        for wide, narrow in pairwise(widths):
            convolution = nn.ConvTranspose2d(wide, narrow, 4, stride=2, padding=1, bias=norm is None)
            layers += [convolution, norm_layer(norm, narrow), nn.ReLU()]
        layers += [nn.ConvTranspose2d(widths[-1], channels, 4, stride=2, padding=1), squashing(output)]
        self.layers = nn.Sequential(*layers)
        _initialise(self)

    def forward(self, z: Tensor) -> Tensor:
        """Return the images of the codes ``z``."""
        if z.shape[-1:] != (self.latent_dim,):
            raise ShapeError(
                f"{type(self).__name__} was built for codes of size latent_dim={self.latent_dim}, but z has "
                f"shape {tuple(z.shape)}. Pass codes of shape (*batch, {self.latent_dim})."
            )
        images: Tensor = self.layers(z.reshape(-1, self.latent_dim, 1, 1))
        return images.view(*z.shape[:-1], *self.data_shape)


class DCGANCritic(nn.Module):
    """Scores images by strided convolutions with leaky ReLU, and no normalisation at the first layer.

    Args:
        data_shape: Shape ``(C, H, W)`` of an image.
        width: Channels after the first layer; doubled at each further layer.
        norm: Normalisation; as published ``"batch"``, but None, ``"layer"`` or ``"group"`` where a gradient
            penalty is used.

    Shape:
        Input ``(*batch, C, H, W)``; output ``(*batch,)``, without a sigmoid.

    Example:
        >>> import torch
        >>> DCGANCritic((3, 32, 32), width=8)(torch.rand(5, 3, 32, 32)).shape
        torch.Size([5])
    """

    def __init__(
        self, data_shape: Sequence[int] = (3, 64, 64), *, width: int = 64, norm: Norm | None = "batch"
    ) -> None:
        super().__init__()
        number = doublings(data_shape)
        channels, height, columns = data_shape
        self.data_shape = (channels, height, columns)
        widths = [width * 2**i for i in range(number)]
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 4, stride=2, padding=1), LeakyReLU(0.2)]
        for narrow, wide in pairwise(widths):
            convolution = nn.Conv2d(narrow, wide, 4, stride=2, padding=1, bias=norm is None)
            layers += [convolution, norm_layer(norm, wide), LeakyReLU(0.2)]
        layers.append(nn.Conv2d(widths[-1], 1, (height // 2**number, columns // 2**number)))
        self.layers = nn.Sequential(*layers)
        _initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return one score for each of the images ``x``."""
        batch = check_images(x, self.data_shape, type(self).__name__)
        return self.layers(x.reshape(-1, *self.data_shape)).view(batch)  # type: ignore[no-any-return]
