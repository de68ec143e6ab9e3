"""What a library brings to the race: one flow, and the three things that are done with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

__all__ = ["BINS", "BOUND", "HIDDEN", "LAYERS", "Contender"]

# The architecture that all of them are given: hidden sizes of every conditioner, and layers by family.
HIDDEN = (128, 128)
LAYERS = {"real-nvp": 6, "maf": 5, "iaf": 4, "spline": 6, "planar": 16}
BINS, BOUND = 8, 5.0


@dataclass(frozen=True)
class Contender:
    """A flow of one library.

    Attributes:
        module: Holds the parameters.
        log_prob: The log-density of rows ``(n, D)``.
        sample: Draws ``n`` rows, called without gradients.
        rsample_and_log_prob: Draws ``n`` rows with gradients and scores them.
        after_step: What the library's documentation asks for after an optimiser's step.
    """

    module: nn.Module
    log_prob: Callable[[Tensor], Tensor]
    sample: Callable[[int], Tensor]
    rsample_and_log_prob: Callable[[int], tuple[Tensor, Tensor]]
    after_step: Callable[[], object] = lambda: None

    @property
    def num_parameters(self) -> int:
        """Number of trainable numbers."""
        return sum(p.numel() for p in self.module.parameters())
