"""What a backward pass written by hand needs to know of a function and of a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

__all__ = ["ByHand", "Network", "no_network"]


class ByHand(Protocol):
    """One direction of a family of increasing functions, with derivatives written out.

    Both methods compute without a graph. What ``gradients`` needs is in what ``values`` keeps.
    """

    def values(self, value: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Apply the functions.

        Args:
            value: Values of shape ``(D, N)``.
            parameters: One function for each value, of shape ``(P, D, N)``; the memory may be written to.

        Returns:
            The images and the logarithms of the slopes, each ``(D, N)``, and what is kept. The memory of the
            logarithms belongs to the caller.
        """

    def gradients(self, kept: Sequence[Tensor], image: Tensor, ladj: Tensor) -> tuple[Tensor, Tensor]:
        """Pull gradients back.

        Args:
            kept: What :meth:`values` kept.
            image: Gradient with respect to the images, ``(D, N)``.
            ladj: Gradient with respect to the log-slopes' sums over the entries, ``(N,)``.

        Returns:
            The gradients with respect to the values, ``(D, N)``, and to the parameters, ``(P, D, N)``.
        """


class Network(Protocol):
    """A network from vectors in columns ``(K, N)`` to parameters in columns ``(O, N)``."""

    @property
    def tensors(self) -> Sequence[Tensor]:
        """The parameters, which the other methods are given."""

    def values(self, x: Tensor, tensors: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Return the output, in memory that belongs to the caller, and what is kept."""

    def gradients(
        self,
        kept: Sequence[Tensor],
        tensors: Sequence[Tensor],
        output: Tensor,
        wanted: Sequence[bool],
    ) -> list[Tensor | None]:
        """Return the gradients with respect to the input and to each tensor, where they are wanted."""

    def formula(self, x: Tensor, tensors: Sequence[Tensor]) -> Tensor:
        """The same network in torch's own operations, for derivatives of higher order."""


def no_network() -> None:
    """What a conditioner gives that has no derivatives written out."""
