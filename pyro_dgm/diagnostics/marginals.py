"""How far the columns of draws are from those of data."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from pyro_dgm.diagnostics.audit_report import Check

__all__ = ["FAR", "Marginal", "furthest_marginal", "marginal_check"]

# A Kolmogorov-Smirnov distance beyond which one column is plainly not the other: normals whose scales differ
# by more than a factor of five, or whose means by more than 0.8 standard deviations.
FAR = 0.3


class Marginal(NamedTuple):
    """The column of draws that is furthest from its column of data.

    Attributes:
        column: Its number.
        distance: The Kolmogorov-Smirnov distance of the two: the largest difference of their distribution
            functions, between 0 and 1, whatever the scale.
        of_data: Median and quartiles of the data.
        of_draws: The same of the draws.
    """

    column: int
    distance: float
    of_data: tuple[float, float, float]
    of_draws: tuple[float, float, float]

    @property
    def words(self) -> str:
        """The two side by side."""
        data, draws = (
            f"median {middle:.3g}, quartiles {low:.3g} and {high:.3g}"
            for low, middle, high in (self.of_data, self.of_draws)
        )
        return f"in column {self.column} the data have {data}, its draws {draws}"


def furthest_marginal(draws: Tensor, rows: Tensor) -> Marginal:
    """Compare draws ``(m, *event)`` with rows ``(n, *event)`` column by column, and return the worst.

    Example:
        >>> furthest_marginal(torch.zeros(3, 1), torch.ones(5, 1)).distance
        1.0
    """
    draws, rows = draws.detach().flatten(1).double(), rows.detach().flatten(1).double()
    # The distribution functions of both, at every value of either, column by column.
    values = torch.cat((draws, rows)).T.contiguous()
    below = [
        torch.searchsorted(sample.T.contiguous().sort(1).values, values, right=True).double() / len(sample)
        for sample in (draws, rows)
    ]
    distances = (below[0] - below[1]).abs().amax(1)
    column = int(distances.argmax())
    quartiles = torch.tensor([0.25, 0.5, 0.75], dtype=torch.double, device=rows.device)
    of_data, of_draws = (
        tuple(sample[:100_000, column].quantile(quartiles).tolist()) for sample in (rows, draws)
    )
    return Marginal(column, distances[column].item(), of_data, of_draws)


def marginal_check(draws: Tensor, rows: Tensor) -> list[Check]:
    """The furthest column as a figure of an audit, without a limit: a density may be another's.

    Its finding is empty where draws and data are not plainly unlike.
    """
    if not draws.isfinite().all():
        return []  # said elsewhere
    found = furthest_marginal(draws, rows)
    finding = (
        f"It is not that of these data: {found.words}. Flows start near the standard normal: standardise the "
        "data, or train Whitened.fitted_to(flow, data), or train longer."
    )
    return [
        Check(
            "marginals",
            "draws against the data, worst column",
            found.distance,
            "0 if the data's",
            "no limit",
            note=f"Kolmogorov-Smirnov, column {found.column}, {len(draws)} draws, {len(rows)} rows",
            finding=finding if found.distance > FAR else "",
        )
    ]
