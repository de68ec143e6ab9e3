"""Finite data in batches, in an order that is a pure function of seed and epoch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from pyro_dgm.errors import DataError
from pyro_dgm.objectives.batch import Batch
from pyro_dgm.training.isolation import derived_seed
from pyro_dgm.training.streams import as_batch_like

__all__ = ["Shuffled"]


class Shuffled:
    """Rows that can be picked by number: each comes exactly once in an epoch, in a new order each time.

    The rows of a step depend on nothing but the seed and the step, so that a run can be taken up anywhere.
    The last batch of an epoch has what is left; batches carry the number of all rows, by which models
    weight them right.

    Args:
        pick: Gives the rows at an index of shape ``(n,)``: a tensor, or a pair with their context.
        size: Number of rows.
        batch_size: Rows of each batch; all of them if there are fewer.
        seed: Seed of the order.
        like: A tensor that gives the dtype and the device of the batches.
        content: The tensors that tell these data from others, for :meth:`fingerprint`.

    Attributes:
        rows: The rows themselves, where they are in memory and come as they are.
    """

    def __init__(
        self,
        pick: Callable[[Tensor], Any],
        size: int,
        batch_size: int,
        seed: int,
        like: Tensor,
        content: Sequence[Tensor] = (),
    ) -> None:
        if size < 1:
            raise DataError("data is empty: give at least one row.")
        self.pick, self.size, self.seed, self.like = pick, size, seed, like
        self.batch_size = min(batch_size, size)
        self.steps_per_epoch: int | None = -(-size // self.batch_size)
        self._epoch, self._order = -1, torch.empty(0)
        self._content = tuple(content)
        self.rows: Tensor | None = None

    @classmethod
    def of_rows(
        cls, rows: Tensor, context: Tensor | None, batch_size: int, seed: int, like: Tensor
    ) -> Shuffled:
        """Batches of a tensor of rows, with one context each if there are any."""

        def pick(index: Tensor) -> tuple[Tensor, Tensor | None]:
            index = index.to(rows.device)
            return rows[index], None if context is None else context[index.to(context.device)]

        content = (rows,) if context is None else (rows, context)
        made = cls(pick, len(rows), batch_size, seed, like, content)
        made.rows = rows
        return made

    @classmethod
    def of_dataset(cls, dataset: Dataset[Any], batch_size: int, seed: int, like: Tensor) -> Shuffled:
        """Batches of a map-style torch data set, read in this process; pictures become numbers in [0, 1]."""

        def pick(index: Tensor) -> Any:
            return default_collate([_without_pictures(_read(dataset, i)) for i in index.tolist()])

        size = len(dataset)  # type: ignore[arg-type]
        return cls(pick, size, batch_size, seed, like)

    def batch(self, step: int) -> Batch:
        """The batch of a step, counted from 0."""
        return self.at(self.index(step))

    def index(self, step: int) -> Tensor:
        """The numbers of the rows of a step."""
        assert self.steps_per_epoch is not None
        epoch, position = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            generator = torch.Generator().manual_seed(derived_seed(self.seed, epoch))
            self._epoch, self._order = epoch, torch.randperm(self.size, generator=generator)
        start = position * self.batch_size
        return self._order[start : start + self.batch_size]

    def state_dict(self) -> dict[str, Any]:
        """Return nothing: the rows of a step are a function of seed and step."""
        return {}

    def load_state_dict(self, state: dict[str, Any], step: int) -> None:
        """Do nothing."""

    def fingerprint(self) -> str:
        """The number of rows, and the SHA-256 of their content where it is in memory."""
        digest = hashlib.sha256()
        for tensor in self._content:
            digest.update(f"{tuple(tensor.shape)} {tensor.dtype}".encode())
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
        return f"{self.size} rows{f', sha256 {digest.hexdigest()[:16]}' if self._content else ''}"

    def in_order(self, batch_size: int) -> Iterator[Batch]:
        """All rows once, in their own order: for evaluation."""
        for index in torch.arange(self.size).split(batch_size):
            yield self.at(index)

    def at(self, index: Tensor) -> Batch:
        """The batch of the rows of these numbers."""
        batch = as_batch_like(self.pick(index), self.like)
        return replace(batch, index=index, size=self.size)


def _without_pictures(item: Any) -> Any:
    """What a data set of torchvision without a transform gives, with tensors ``(C, H, W)`` for pictures."""
    first = item[0] if isinstance(item, tuple | list) and item else item
    if not (hasattr(first, "getbands") and hasattr(first, "tobytes")):
        return item
    from torchvision.transforms.functional import to_tensor

    picture: Tensor = to_tensor(first)
    return picture if first is item else (picture, *item[1:])


def _read(dataset: Dataset[Any], i: int) -> Any:
    """An item of a data set; what it raises says which one."""
    try:
        return dataset[i]
    except Exception as error:
        error.add_note(f"raised by the data set {type(dataset).__name__} while fit read its row {i}.")
        raise
