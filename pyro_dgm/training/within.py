"""What a loss is computed in: the precision of its products, and whose noise it meets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from pyro_dgm.objectives.batch import Batch
from pyro_dgm.training.half_products import HalfProducts
from pyro_dgm.training.row_noise import RowNoise

__all__ = ["Within"]

_NOTHING = nullcontext()


class Within:
    """Makes the context of one loss.

    Args:
        half: The dtype of products, or None for full precision.
        noise_seed: The seed of noise that belongs to rows; None for the usual stream of random numbers.
    """

    def __init__(self, half: torch.dtype | None = None, noise_seed: int | None = None) -> None:
        self.products = None if half is None else HalfProducts(half)
        self.noise = None if noise_seed is None else RowNoise(noise_seed)

    def of(self, step: int, batch: Batch) -> AbstractContextManager[None]:
        """The context for the loss of a batch at a step."""
        if self.products is None and self.noise is None:
            return _NOTHING
        return self._both(step, batch)

    @contextmanager
    def _both(self, step: int, batch: Batch) -> Iterator[None]:
        if self.noise is not None:
            rows = torch.arange(len(batch.x)) if batch.index is None else batch.index
            self.noise.begin(step, rows)
        with self.products or nullcontext(), self.noise or nullcontext():
            yield
