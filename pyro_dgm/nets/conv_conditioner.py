"""The convolutional conditioner of image flows."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from pyro_dgm.errors import ShapeError

__all__ = ["ConvConditioner"]


class ConvConditioner(nn.Module):
    """A small residual network of images, without any normalisation between its layers.

    A convolution, residual blocks of two convolutions each, and a last convolution that sees one pixel. The
    second convolution of each block and the last one start at zero, so that the output starts as ``initial``.

    Args:
        in_channels: Channels of the input; zero is allowed where there is a context.
        num_parameters: Outputs ``P`` for each entry of ``out_channels``.
        out_channels: Channels that the parameters are for.
        hidden_channels: Width of the network.
        num_blocks: Number of residual blocks.
        kernel_size: Size of the convolutions' kernels, odd.
        context_channels: Channels of the context; zero for none.
        size: Height and width of the images, for a learned bias of its own for each pixel; none by default.
        initial: Initial outputs ``(P,)`` of every entry, for every input; zeros by default.

    Shape:
        Input ``(*batch, in_channels, H, W)`` and context ``(*context_batch, context_channels, h, w)`` with
        ``h, w`` either ``H, W`` or one, whose batch shapes broadcast; output
        ``(*batch, P * out_channels, H, W)``: all channels' first parameter, then all second ones, and so on.

    Raises:
        ShapeError: If the input has another number of channels.

    Reference:
        He, Zhang, Ren and Sun, Identity Mappings in Deep Residual Networks, ECCV 2016 (the order of
        activations). https://arxiv.org/abs/1603.05027

    Example:
        >>> ConvConditioner(2, 3, 4, hidden_channels=8)(torch.randn(5, 2, 7, 7)).shape
        torch.Size([5, 12, 7, 7])
    """

    def __init__(
        self,
        in_channels: int,
        num_parameters: int,
        out_channels: int,
        *,
        hidden_channels: int = 32,
        num_blocks: int = 2,
        kernel_size: int = 3,
        context_channels: int = 0,
        size: tuple[int, int] | None = None,
        initial: Tensor | None = None,
    ) -> None:
        super().__init__()
        if num_blocks < 0 or kernel_size % 2 == 0:
            raise ValueError(
                f"ConvConditioner needs num_blocks >= 0 and an odd kernel_size, but got {num_blocks=} and "
                f"{kernel_size=}."
            )
        self.in_channels, self.context_channels = in_channels, context_channels
        wide, around = hidden_channels, kernel_size // 2
        self.first = nn.Conv2d(in_channels + context_channels, wide, kernel_size, padding=around)
        self.place = None if size is None else nn.Parameter(torch.zeros(wide, *size))
        self.blocks = nn.ModuleList(_Block(wide, kernel_size) for _ in range(num_blocks))
        self.last = nn.Conv2d(wide, num_parameters * out_channels, 1)
        nn.init.zeros_(self.last.weight)
        start = torch.zeros(num_parameters) if initial is None else initial
        self.last.bias = nn.Parameter(start.repeat_interleave(out_channels).clone())

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Map ``x``, beside ``context`` where there is one."""
        if x.dim() < 3 or x.shape[-3] != self.in_channels:
            raise ShapeError(
                f"ConvConditioner was built for images of {self.in_channels} channels, but x has shape "
                f"{tuple(x.shape)}. Reshape it to (*batch, {self.in_channels}, H, W)."
            )
        if context is not None:
            batch = torch.broadcast_shapes(x.shape[:-3], context.shape[:-3])
            maps = context.expand(*batch, -1, *x.shape[-2:])
            x = torch.cat((x.expand(*batch, *x.shape[-3:]), maps), dim=-3)
        h = self.first(x.reshape(x.shape[:-3].numel(), *x.shape[-3:]))
        h = h if self.place is None else h + self.place
        for block in self.blocks:
            h = block(h)
        out: Tensor = self.last(relu(h))
        return out.view(*x.shape[:-3], *out.shape[-3:])


class _Block(nn.Module):
    """A residual block, the identity at first."""

    def __init__(self, channels: int, kernel_size: int) -> None:
        super().__init__()
        self.one = nn.Conv2d(channels, channels, kernel_size, padding=kernel_size // 2)
        self.two = nn.Conv2d(channels, channels, kernel_size, padding=kernel_size // 2)
        nn.init.zeros_(self.two.weight)
        nn.init.zeros_(self.two.bias)  # type: ignore[arg-type]

    def forward(self, h: Tensor) -> Tensor:
        """Add what two convolutions say to ``h``."""
        out: Tensor = h + self.two(relu(self.one(relu(h))))
        return out
