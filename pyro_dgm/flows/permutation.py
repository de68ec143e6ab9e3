"""A layer that reorders the channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from pyro_dgm.errors import DataError
from pyro_dgm.transforms import PermutationTransform

__all__ = ["Permutation"]


class Permutation(nn.Module):
    """A fixed order of the channels, kept in ``state_dict``.

    Args:
        num_channels: Size ``C`` of the event's first axis.
        order: ``"reverse"``, ``"random"`` (drawn now, once), or the order itself: entry ``c`` is the channel
            on the base side that becomes channel ``c`` on the data side.
        rank: Number of dimensions of an event: 1 for vectors ``(C,)``, 3 for images ``(C, H, W)``.

    Returns:
        Called, with or without a context: the bijection.

    Raises:
        DataError: If the order is not one of all channels.

    Example:
        >>> Permutation(3)()(torch.tensor([1.0, 2.0, 3.0]))
        tensor([3., 2., 1.])
    """

    order: Tensor

    def __init__(
        self,
        num_channels: int,
        order: Literal["reverse", "random"] | Sequence[int] = "reverse",
        *,
        rank: int = 1,
    ) -> None:
        super().__init__()
        self.rank = rank
        if order == "reverse":
            index = torch.arange(num_channels).flip(0)
        elif order == "random":
            index = torch.randperm(num_channels)
        else:
            if sorted(map(str, order)) != sorted(map(str, range(num_channels))):
                raise DataError(
                    f"the order of a Permutation is 'reverse', 'random' or an order of all {num_channels} "
                    f"channels, 0 to {num_channels - 1}, but got {order!r}."
                )
            index = torch.tensor(list(order))
        self.register_buffer("order", index)

    def forward(self, context: Tensor | None = None) -> PermutationTransform:
        """Return the bijection; it does not depend on the ``context``."""
        return PermutationTransform(self.order, rank=self.rank)

    def extra_repr(self) -> str:
        """State the sizes in ``repr``."""
        return f"{len(self.order)}, rank={self.rank}"
