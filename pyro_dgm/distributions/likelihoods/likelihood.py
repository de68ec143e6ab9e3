"""What a likelihood is: the step from a decoder's output to the distribution of the data."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from pyro_dgm.errors import ShapeError

__all__ = ["EntrywiseLikelihood", "Likelihood"]

Likelihood = Callable[[Tensor], TorchDistribution]


class EntrywiseLikelihood(nn.Module):
    """Independent entries, each with ``outputs_per_entry`` numbers of the decoder's output.

    Where that is more than one, the decoder's output is that many times as large along the event's first
    dimension: all first parameters, then all second ones, and so on. For images these are channels.

    A subclass defines :meth:`of_entries`.

    Args:
        event_dim: Rank of one row: 1 for vectors, 3 for images ``(C, H, W)``.
        outputs_per_entry: How many numbers each entry needs.

    Shape:
        Output of the decoder ``(*batch, outputs_per_entry * D, *rest)``; the distribution has batch shape
        ``batch`` and event shape ``(D, *rest)``.

    Raises:
        ShapeError: If the decoder's output cannot be divided so.
    """

    def __init__(self, event_dim: int = 1, outputs_per_entry: int = 1) -> None:
        super().__init__()
        self.event_dim, self.outputs_per_entry = event_dim, outputs_per_entry

    def of_entries(self, outputs: Tensor) -> TorchDistribution:
        """Return the distribution of single entries.

        Args:
            outputs: Of the entries' shape, or ``(outputs_per_entry, *entries)`` if that is more than one.
        """
        raise NotImplementedError(f"{type(self).__name__} must define of_entries(outputs)")

    def forward(self, output: Tensor) -> TorchDistribution:
        """Return the distribution of rows for a decoder's output."""
        if self.outputs_per_entry > 1:
            output = self._divided(output)
        return cast(TorchDistribution, self.of_entries(output).to_event(self.event_dim))

    def _divided(self, output: Tensor) -> Tensor:
        size = output.shape[-self.event_dim] if output.dim() >= self.event_dim else 0
        if size == 0 or size % self.outputs_per_entry:
            raise ShapeError(
                f"{type(self).__name__} needs {self.outputs_per_entry} numbers for each entry, so the "
                f"decoder's output must be divisible by that along its dimension {-self.event_dim}, but has "
                f"shape {tuple(output.shape)}. Give the decoder {self.outputs_per_entry} times the size."
            )
        divided: Tensor = output.unflatten(-self.event_dim, (self.outputs_per_entry, -1))
        return divided.movedim(-self.event_dim - 1, 0)

    def extra_repr(self) -> str:
        """State the rank in ``repr``."""
        return f"event_dim={self.event_dim}"
