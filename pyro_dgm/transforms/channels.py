"""What the bijections that act on channels share."""

from __future__ import annotations

from typing import Any

from torch import Size, Tensor
from torch.distributions import constraints

from pyro_dgm.transforms.bijection import Bijection

__all__ = ["ChannelBijection"]


class ChannelBijection(Bijection):
    """A bijection that treats each place of an event alike: it acts on the event's first axis alone.

    A channel is an index of that axis: an entry of a vector, a plane of an image.

    Args:
        rank: Number of dimensions of an event: 1 for vectors ``(C,)``, 3 for images ``(C, H, W)``.
    """

    def __init__(self, rank: int = 1) -> None:
        super().__init__()
        self.rank = rank

    @property
    def domain(self) -> Any:  # type: ignore[override]
        """Real events of the given rank."""
        vectors = constraints.real_vector
        return vectors if self.rank == 1 else constraints.independent(constraints.real, self.rank)

    @property
    def codomain(self) -> Any:  # type: ignore[override]
        """Real events of the given rank."""
        return self.domain

    def batch_of(self, value: Tensor) -> Size:
        """The batch shape of ``value``."""
        return value.shape[: value.dim() - self.rank]

    def places_of(self, value: Tensor) -> int:
        """The number of places, that is of entries in one channel."""
        return value.shape[value.dim() - self.rank + 1 :].numel()

    def over_places(self, of_channels: Tensor) -> Tensor:
        """Numbers ``(C,)`` in a shape that broadcasts over the places: ``(C, 1, 1)`` for images."""
        return of_channels.reshape(-1, *(1,) * (self.rank - 1))
