"""RealNVP over images: affine couplings at several scales."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pyro_dgm.flows.image_flow import ImageFlow, coupling, squeezed
from pyro_dgm.nets import ConvConditioner
from pyro_dgm.transforms import (
    Affine,
    Bijection,
    Composed,
    FactorOut,
    Inverted,
    PermutationTransform,
    squeeze,
)

__all__ = ["RealNVPImage"]


class RealNVPImage(ImageFlow):
    r"""Affine couplings with checkerboard and channel masks, at several scales.

    Seen from the data, each level has couplings that change the black and the white squares of a checkerboard
    in turn, a squeeze, couplings that change two halves of the channels in turn, which are not those of the
    checkerboard, and a factor-out of half of the channels. The last level has channel masks alone. A
    conditioner reads the kept squares of a checkerboard as channels of an image of half the size, so that no
    masked pixel is computed with. Both directions cost one pass of each conditioner. Fresh flows are the
    identity, but for the logit of ``alpha``; with ``alpha=0.0`` they are uniform on the unit interval.

    Args:
        event_shape: Shape ``(C, H, W)`` of an image; ``H`` and ``W`` are divisible by ``2**num_levels``.
        context_dim: Size of the conditioning vector; zero for none.
        context_channels: Channels of a conditioning image of height ``H`` and width ``W``.
        alpha: Margin of a last logit, for pixels in the unit interval; none by default, for real numbers.
        num_levels: Number of times that height and width are halved.
        num_couplings: Number of couplings of each of a level's masks; one more at the last level.
        hidden_channels: Width of the convolutional conditioners.
        num_blocks: Number of their residual blocks.
        max_log_scale: Bound of each layer's log-scale, in nats.
        name: Prefix of the parameters in Pyro's store; unique by default.

    Reference:
        Dinh, Sohl-Dickstein and Bengio, Density estimation using Real NVP, ICLR 2017; without its batch
        normalisation. https://arxiv.org/abs/1605.08803

    Example:
        >>> flow = RealNVPImage((1, 8, 8), num_levels=1, hidden_channels=4, num_blocks=1)
        >>> flow().log_prob(torch.zeros(5, 1, 8, 8)).shape
        torch.Size([5])
    """

    order: Tensor

    def __init__(
        self,
        event_shape: Sequence[int],
        context_dim: int = 0,
        *,
        context_channels: int = 0,
        alpha: float | None = None,
        num_levels: int = 2,
        num_couplings: int = 3,
        hidden_channels: int = 32,
        num_blocks: int = 2,
        max_log_scale: float = 3.0,
        name: str | None = None,
    ) -> None:
        super().__init__(event_shape, context_dim, context_channels=context_channels, alpha=alpha, name=name)
        self.check_halvings(num_levels)
        if num_couplings < 1:
            raise ValueError(f"RealNVPImage needs num_couplings >= 1, but got {num_couplings}.")
        self.elementwise = Affine(max_log_scale)
        self.num_couplings = num_couplings
        channels = self.image_shape[0]
        # Two of four channels at each level: (0, 1, 2, 3) are the squares 00, 11, 01, 10 of a block.
        self.halves = [2 * channels * 2**level for level in range(num_levels)]

        def nets(half: int, level: int, count: int) -> nn.ModuleList:
            seen = self.context_channels_at(level)
            return nn.ModuleList(
                ConvConditioner(
                    half,
                    2,
                    half,
                    hidden_channels=hidden_channels,
                    num_blocks=num_blocks,
                    context_channels=seen,
                )
                for _ in range(count)
            )

        self.levels = nn.ModuleList(
            nets(half, level, 2 * num_couplings) for level, half in enumerate(self.halves, start=1)
        )
        self.last = nets(self.halves[-1] // 2, num_levels, num_couplings + 1)

    def unconstrained(self, context: Tensor | None = None) -> Bijection:
        """Return the bijection from latent to image, but for the last logit."""
        return self._level(0, self.context_map(context))

    def _level(self, level: int, seen: Tensor | None) -> Bijection:
        if level == len(self.levels):
            return Composed(self._couplings(list(self.last), self.halves[-1] // 2, seen))
        if self.context_channels and seen is not None:
            seen = squeeze(seen)
        half, nets = self.halves[level], list(self.levels[level])  # type: ignore[call-overload]
        by_channel, by_square = nets[: self.num_couplings], nets[self.num_couplings :]
        # From the order of the channel masks, by rows of the blocks, to that of the checkerboard.
        to_squares = PermutationTransform(self._rows_to_squares(half), rank=3)
        parts = [Inverted(to_squares), FactorOut(self._level(level + 1, seen), half)]
        parts += [*self._couplings(by_channel, half, seen), to_squares]
        return squeezed(Composed([*parts, *self._couplings(by_square, half, seen)]))

    def _couplings(self, nets: Sequence[nn.Module], half: int, seen: Tensor | None) -> list[Bijection]:
        # The one nearest to the data, and every other, changes the first channels.
        turns = [(len(nets) - i) % 2 == 1 for i in range(len(nets))]
        return [
            coupling(net, self.elementwise, half, turn, seen) for net, turn in zip(nets, turns, strict=True)
        ]

    def _rows_to_squares(self, half: int) -> Tensor:
        blocks = torch.arange(2 * half, device=self.origin.device).view(4, -1)
        return blocks[[0, 3, 1, 2]].flatten()  # rows are 00, 01, 10, 11; squares 00, 11, 01, 10
