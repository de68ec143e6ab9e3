"""Which learner an objective gets, with the options that it can heed."""

from __future__ import annotations

from typing import Any

from pyro_dgm.training.budget import positive_int, positive_number
from pyro_dgm.training.gradient_step import GradientStep
from pyro_dgm.training.half_products import check_precision
from pyro_dgm.training.learner import Learner
from pyro_dgm.training.objective import steps_itself
from pyro_dgm.training.optimizers import OptimizerLike
from pyro_dgm.training.own_step import OwnStep, networks_of
from pyro_dgm.training.ranks import Ranks
from pyro_dgm.training.sharded_step import ShardedStep
from pyro_dgm.training.within import Within

__all__ = ["DEFAULT_CLIP", "DEFAULT_LR", "learner_of"]

DEFAULT_LR, DEFAULT_CLIP = 1e-3, 10.0


def learner_of(
    objective: Any,
    optimizer: OptimizerLike | None,
    *,
    lr: float,
    clip: float | None,
    accumulate: int,
    precision: str,
    noise_seed: int | None,
    ranks: Ranks,
    shard: bool = False,
) -> Learner:
    """Return what makes the updates of an objective.

    Raises:
        ValueError: If an option is out of range, or is one that an objective with its own step cannot heed.
    """
    lr, clip = positive_number("lr", lr), None if clip is None else positive_number("clip", clip)
    accumulate = positive_int("accumulate", accumulate)
    within = Within(check_precision(precision, networks_of(objective)), noise_seed)
    if not steps_itself(objective):
        kind = ShardedStep if shard and ranks.many else GradientStep
        return kind(objective, optimizer, lr, clip, accumulate=accumulate, within=within, ranks=ranks)
    if optimizer is not None or lr != DEFAULT_LR or clip not in (None, DEFAULT_CLIP) or accumulate != 1:
        raise ValueError(
            f"{type(objective).__name__} steps itself, with optimisers of its own: give optimizer, lr and "
            "clip to it rather than to fit, and leave accumulate=1."
        )
    return OwnStep(objective, within=within, ranks=ranks)
