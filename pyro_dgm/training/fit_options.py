"""What the options of ``fit`` come to: each checked, and made into what the loop takes."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from pyro_dgm.objectives.batch import Batch
from pyro_dgm.training.batches import Source
from pyro_dgm.training.budget import Budget
from pyro_dgm.training.callbacks import AverageWeights, Callback, as_callbacks
from pyro_dgm.training.objective import steps_itself
from pyro_dgm.training.shuffled import Shuffled
from pyro_dgm.training.streams import Fresh
from pyro_dgm.training.validation import Validation

__all__ = ["averaging", "check_rows", "checked_seed", "rows_of", "some_rows", "with_validation"]


def rows_of(source: Source) -> Tensor | None:
    """The rows of a source, where they are in memory and used as they are."""
    return source.rows if isinstance(source, Shuffled) else None


def some_rows(source: Source, num: int) -> Batch | None:
    """At most so many rows of a source, or new ones of one that draws; None of a loader, which is spent."""
    if isinstance(source, Shuffled):
        return source.at(torch.arange(min(num, source.size)))
    return source.drawn(num) if isinstance(source, Fresh) else None


def check_rows(source: Source, row_noise: bool) -> None:
    """Refuse noise of rows that have no numbers."""
    if row_noise and not isinstance(source, Shuffled):
        raise ValueError(
            "row_noise needs data whose rows have numbers: a tensor, an array or a map-style Dataset, not a "
            "DataLoader or fresh rows."
        )


def averaging(given: Any, average: float | None, objective: Any) -> list[Callback]:
    """The callbacks of a run, with the running average of the weights first, if there is one."""
    callbacks = as_callbacks(given)
    if average is None:
        return callbacks
    if steps_itself(objective):
        raise ValueError(
            f"{type(objective).__name__} steps itself, and averages the weights itself: give average to it "
            "rather than to fit."
        )
    return [AverageWeights(average), *callbacks]


def with_validation(
    callbacks: list[Callback],
    validation: Any,
    validate_every: int | None,
    patience: int | None,
    keep_best: bool,
    *,
    source: Source,
    budget: Budget,
    batch_size: int,
    like: Tensor,
) -> list[Callback]:
    """The callbacks, and what watches the loss on held-out rows right after the average that it measures.

    Raises:
        ValueError: If an option of validation is given, but no rows to validate on.
    """
    if validation is None:
        if patience is not None or validate_every is not None:
            raise ValueError("patience and validate_every need validation=, the held-out rows to measure on.")
        return callbacks
    every = _interval(source, budget) if validate_every is None else validate_every
    first = callbacks[0] if callbacks else None
    average = first if isinstance(first, AverageWeights) else None
    watch = Validation(
        validation, every, patience, keep_best, batch_size=max(batch_size, 1000), like=like, average=average
    )
    return [watch, *callbacks] if average is None else [average, watch, *callbacks[1:]]


def checked_seed(seed: Any) -> int:
    """A seed as it was given, or why it is none."""
    if isinstance(seed, bool) or not isinstance(seed, Integral):
        raise TypeError(f"seed must be a non-negative integer, but is {seed!r}.")
    number = int(seed)
    if not 0 <= number < 2**63:
        near = abs(number) % 2**63
        raise ValueError(f"seed must be in [0, 2**63), but is {number}. Did you mean seed={near}?")
    return number


def _interval(source: Source, budget: Budget) -> int:
    """Steps between validations: an epoch if it is not too short or too long for the run."""
    if budget.steps is None:
        return source.steps_per_epoch or 100
    twentieth = max(1, budget.steps // 20)
    epoch = source.steps_per_epoch
    return epoch if epoch is not None and twentieth <= epoch <= budget.steps // 2 else twentieth
