"""One source of batches for several processes: each gets its part, and no row comes twice."""

from __future__ import annotations

from typing import Any

from pyro_dgm.objectives.batch import Batch
from pyro_dgm.training.batches import Source
from pyro_dgm.training.ranks import Ranks, part_of
from pyro_dgm.training.shuffled import Shuffled
from pyro_dgm.training.streams import Fresh, Loaded

__all__ = ["Shared", "shared"]


def shared(source: Source, ranks: Ranks) -> Source:
    """Return a source for this process; the given one if it is alone.

    Raises:
        ValueError: If batches of fresh rows are too small to give each process one.
    """
    if not ranks.many:
        return source
    if isinstance(source, Fresh):
        rows = (
            ranks.rank + 1
        ) * source.batch_size // ranks.size - ranks.rank * source.batch_size // ranks.size
        if not rows:
            raise ValueError(
                f"batch_size={source.batch_size} is less than one row for each of {ranks.size} processes. It "
                "is the size of the batch of all processes together: choose a larger one."
            )
        ranks.weight, source.batch_size = rows / source.batch_size, rows
        return source
    return Shared(source, ranks)


class Shared:
    """Gives this process its part of each batch, and tells ``ranks`` its share of the rows.

    Rows that are picked by number are split before they are read; batches of a loader after it.

    Args:
        source: The batches of all processes together.
        ranks: The processes.
    """

    def __init__(self, source: Source, ranks: Ranks) -> None:
        self.source, self.ranks = source, ranks
        self.steps_per_epoch = source.steps_per_epoch

    def batch(self, step: int) -> Batch:
        """This process's part of the batch of a step."""
        ranks = self.ranks
        if isinstance(self.source, Shuffled):
            index = self.source.index(step)
            numbers, ranks.weight = part_of(Batch(index), ranks.rank, ranks.size)
            return self.source.at(numbers.x)
        part, ranks.weight = part_of(self.source.batch(step), ranks.rank, ranks.size)
        return part

    def abandon(self) -> None:
        """End what the source has started."""
        if isinstance(self.source, Loaded):
            self.source.abandon()

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the source, which is that of all processes."""
        return self.source.state_dict()

    def load_state_dict(self, state: dict[str, Any], step: int) -> None:
        """Go to the batch of a step."""
        self.source.load_state_dict(state, step)

    def fingerprint(self) -> str:
        """What tells these data from others."""
        return self.source.fingerprint()
