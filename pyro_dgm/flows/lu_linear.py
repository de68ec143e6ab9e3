"""A layer that mixes the channels linearly."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pyro_dgm.transforms import LULinearTransform

__all__ = ["LULinear"]


class LULinear(nn.Module):
    """A learned invertible linear map of the channels; the 1x1 convolution of Glow over images.

    The matrix starts as a random rotation, which keeps volumes. Both directions cost one product, the
    log-determinant costs nothing.

    Args:
        num_channels: Size ``C`` of the event's first axis.
        rank: Number of dimensions of an event: 1 for vectors ``(C,)``, 3 for images ``(C, H, W)``.
        shift: Whether to add a learned shift as well.

    Returns:
        Called, with or without a context: the bijection, a :class:`~pyro_dgm.transforms.LULinearTransform`.

    Reference:
        Kingma and Dhariwal, Glow: Generative Flow with Invertible 1x1 Convolutions, NeurIPS 2018, section
        3.2. https://arxiv.org/abs/1807.03039

    Example:
        >>> y, ladj = LULinear(3)().call_and_ladj(torch.randn(5, 3))
        >>> ladj.abs().max() < 1e-5
        tensor(True)
    """

    order: Tensor
    signs: Tensor

    def __init__(self, num_channels: int, *, rank: int = 1, shift: bool = False) -> None:
        super().__init__()
        if num_channels < 1 or rank < 1:
            raise ValueError(
                f"LULinear needs num_channels >= 1 and rank >= 1, but got {num_channels=}, {rank=}."
            )
        self.rank = rank
        rotation = torch.linalg.qr(torch.randn(num_channels, num_channels, dtype=torch.double))[0]
        permutation, lower, upper = torch.linalg.lu(rotation)
        dtype, diagonal = torch.get_default_dtype(), upper.diagonal()
        self.register_buffer("order", permutation.argmax(0))
        self.register_buffer("signs", diagonal.sign().to(dtype))
        self.lower, self.upper = nn.Parameter(lower.tril(-1).to(dtype)), nn.Parameter(upper.triu(1).to(dtype))
        self.log_diagonal = nn.Parameter(diagonal.abs().log().to(dtype))
        self.shift = nn.Parameter(torch.zeros(num_channels)) if shift else None

    def forward(self, context: Tensor | None = None) -> LULinearTransform:
        """Return the bijection; it does not depend on the ``context``."""
        return LULinearTransform(
            self.order,
            self.lower,
            self.upper,
            self.log_diagonal,
            self.signs,
            self.shift,
            rank=self.rank,
        )

    def extra_repr(self) -> str:
        """State the sizes in ``repr``."""
        return f"{len(self.order)}, rank={self.rank}"
