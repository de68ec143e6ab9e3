"""Whether samples are copies of the training data."""

from __future__ import annotations

import torch

from pyro_dgm.errors import DataError
from pyro_dgm.metrics.estimate import Estimate
from pyro_dgm.metrics.neighbours import nearest_between
from pyro_dgm.metrics.samples import two_samples

__all__ = ["nearest_train_ratio"]


def nearest_train_ratio(
    samples: object,
    train: object,
    held_out: object,
    *,
    num_bootstrap: int = 500,
    level: float = 0.95,
    seed: int = 0,
    block: int = 1024,
    floor: Estimate | None = None,
) -> Estimate:
    r"""How much nearer to the training rows samples lie than held-out rows do.

    .. math:: \frac{\operatorname{median}_s \min_t |s - t|}{\operatorname{median}_h \min_t |h - t|}

    One where samples are new rows of the same distribution; far below one where training rows are copied,
    or where samples are smoother than data, which a look at the nearest pairs tells apart; above one where
    samples lie off the data.

    Args:
        samples: Rows drawn from a model, of any event shape.
        train: The rows that the model was trained on.
        held_out: Real rows that it was not trained on.
        num_bootstrap: Number of resamples, of samples and held-out rows, behind the interval.
        level: What the interval shall cover.
        seed: Seed of the resampling; the global random state is not touched.
        block: Rows per block: the memory is a few matrices of ``block * block``.
        floor: What two samples of one distribution score.

    Returns:
        The ratio with standard error and percentile interval of the bootstrap; sample sizes are those of the
        samples and of the held-out rows.

    Raises:
        DataError: If an entry is not finite, a set is too small, or at least half of the held-out rows are
            in the training set.
        ShapeError: If rows have different shapes.

    Reference:
        Meehan, Chaudhuri and Dasgupta, A Non-Parametric Test to Detect Data-Copying in Generative Models,
        AISTATS 2020. https://arxiv.org/abs/2004.05675

    Example:
        >>> train, held_out = torch.arange(8.0).reshape(-1, 1), torch.tensor([[0.5], [2.5], [4.5]])
        >>> nearest_train_ratio(train[:4] + 0.25, train, held_out).value
        0.5
    """
    drawn, fresh = two_samples(samples, held_out, name="nearest_train_ratio", names=("samples", "held_out"))
    known, _ = two_samples(train, held_out, name="nearest_train_ratio", least=1, names=("train", "held_out"))
    known = known.to(drawn.device)
    if num_bootstrap < 2 or not 0 < level < 1:
        raise DataError(f"expected at least 2 resamples and a level in (0, 1), got {num_bootstrap}, {level}.")
    of_drawn, of_fresh = (nearest_between(x, known, 1, block)[:, 0] for x in (drawn, fresh))
    if of_fresh.median() == 0:
        raise DataError(
            "at least half of the held-out rows are rows of the training set: hold out others, or drop the "
            "duplicates."
        )
    generator = torch.Generator().manual_seed(seed)
    n, m = len(of_drawn), len(of_fresh)
    picks = [
        x[torch.randint(len(x), (num_bootstrap, len(x)), generator=generator).to(x.device)].quantile(
            0.5, dim=1
        )
        for x in (of_drawn, of_fresh)
    ]
    ratios = picks[0] / picks[1].clamp_min(torch.finfo(torch.double).tiny)
    low, high = (ratios.quantile(q).item() for q in ((1 - level) / 2, (1 + level) / 2))
    value = (of_drawn.quantile(0.5) / of_fresh.quantile(0.5)).item()
    return Estimate(value, ratios.std().item(), low, high, n, m, level, floor)
