"""Space to depth: images of half the height and width with four times the channels."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import constraints

from pyro_dgm.errors import ShapeError
from pyro_dgm.transforms.bijection import Bijection

__all__ = ["IMAGE", "Squeeze", "squeeze", "unsqueeze"]

IMAGE = constraints.independent(constraints.real, 3)

# The squares of a checkerboard in each 2 x 2 block: the two black ones, then the two white ones.
_BLOCK = ((0, 0), (1, 1), (0, 1), (1, 0))


class Squeeze(Bijection):
    r"""A finer image out of a coarser one with more channels; a permutation, so its log-determinant is zero.

    Each block of 2 x 2 pixels on the data side is one pixel of four times the channels on the base side. The
    channels come square by square of a checkerboard: first those of the black squares (0, 0) and (1, 1), then
    those of the white squares (0, 1) and (1, 0). On the base side a mask of channels, the first half or the
    second, is therefore a checkerboard mask of the image.

    Shape:
        ``x``: ``(*batch, 4 C, H / 2, W / 2)``; ``y``: ``(*batch, C, H, W)``. Log-determinant: ``(*batch,)``.

    Raises:
        ShapeError: If height or width of ``y`` is odd, or the channels of ``x`` are no multiple of four.

    Reference:
        Dinh, Sohl-Dickstein and Bengio, Density estimation using Real NVP, ICLR 2017, sections 3.4 and 3.6.
        https://arxiv.org/abs/1605.08803

    Example:
        >>> Squeeze().inv(torch.arange(4.0).view(1, 2, 2)).flatten()
        tensor([0., 3., 1., 2.])
    """

    domain = IMAGE
    codomain = IMAGE

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Lay the channels out as blocks of pixels."""
        return unsqueeze(x), x.new_zeros(x.shape[:-3])

    def inverse_and_ladj(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Stack the pixels of each block as channels."""
        return squeeze(y), y.new_zeros(y.shape[:-3])

    def forward_shape(self, shape: torch.Size) -> torch.Size:
        """The shape of ``y`` for that of ``x``."""
        channels, height, width = shape[-3:]
        return torch.Size([*shape[:-3], channels // 4, 2 * height, 2 * width])

    def inverse_shape(self, shape: torch.Size) -> torch.Size:
        """The shape of ``x`` for that of ``y``."""
        channels, height, width = shape[-3:]
        return torch.Size([*shape[:-3], 4 * channels, height // 2, width // 2])


def squeeze(y: Tensor) -> Tensor:
    """From ``(*batch, C, H, W)`` to ``(*batch, 4 C, H / 2, W / 2)``, the black squares' channels first."""
    if y.dim() < 3 or y.shape[-1] % 2 or y.shape[-2] % 2:
        raise ShapeError(
            f"squeeze needs images (*batch, C, H, W) of even height and width, but got {tuple(y.shape)}. "
            "Pad the images, or use fewer levels."
        )
    return torch.cat([y[..., row::2, column::2] for row, column in _BLOCK], dim=-3)


def unsqueeze(x: Tensor) -> Tensor:
    """Undo :func:`squeeze`."""
    if x.dim() < 3 or x.shape[-3] % 4:
        raise ShapeError(
            f"unsqueeze needs images (*batch, 4 C, H, W), but got {tuple(x.shape)}, whose number of channels "
            "is no multiple of four."
        )
    a, d, b, c = x.chunk(4, dim=-3)
    upper, lower = torch.stack((a, b), -1).flatten(-2), torch.stack((c, d), -1).flatten(-2)
    return torch.stack((upper, lower), -2).flatten(-3, -2)
