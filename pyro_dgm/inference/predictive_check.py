"""Are the data like those that the fitted model would make?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pyro_dgm.errors import DataError, UnknownNameError
from pyro_dgm.inference.draws_of import draws_of
from pyro_dgm.inference.program import Program
from pyro_dgm.models.generative_model import seeded

__all__ = ["PredictiveCheck", "predictive_check"]

_STATISTICS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda x: x.mean(),
    "standard deviation": lambda x: x.std(),
    "least": lambda x: x.min(),
    "largest": lambda x: x.max(),
}


@dataclass(frozen=True)
class PredictiveCheck:
    """Statistics of the data beside those of data sets that the fitted model makes.

    Attributes:
        observed: The value of each statistic on the data.
        replicated: Its values on data sets drawn from the posterior predictive, of shape ``(n,)``.
    """

    observed: dict[str, float]
    replicated: dict[str, Tensor]

    @property
    def p_values(self) -> dict[str, float]:
        """Share of drawn data sets whose statistic is larger, ties counted half: near 0 or 1 is a misfit."""
        return {
            name: ((drawn > seen).double().mean() + 0.5 * (drawn == seen).double().mean()).item()
            for (name, drawn), seen in zip(self.replicated.items(), self.observed.values(), strict=True)
        }

    @property
    def sentence(self) -> str:
        """The verdict in plain words: which statistics are outside of the central 98 % of those drawn."""
        odd = {name: p for name, p in self.p_values.items() if not 0.01 <= p <= 0.99}
        if not odd:
            return "In these statistics the data look like those of the model."
        found = "; ".join(f"{name} is too {'large' if p < 0.5 else 'small'}" for name, p in odd.items())
        return f"The data are not like those of the model: their {found}."

    def __str__(self) -> str:
        width = max(map(len, self.observed))
        lines = [f"{'statistic'.ljust(width)}  data      drawn (5%, 50%, 95%)          p"]
        levels = torch.tensor([0.05, 0.5, 0.95]).double()
        for name, p in self.p_values.items():
            low, middle, high = self.replicated[name].quantile(levels).tolist()
            drawn = f"{low:<8.4g}  {middle:<8.4g}  {high:<8.4g}"
            lines.append(f"{name.ljust(width)}  {self.observed[name]:<8.4g}  {drawn}  {p:.3f}")
        return "\n".join([*lines, self.sentence])


def predictive_check(
    posterior: Any,
    model: Callable[..., Any],
    *args: Any,
    statistics: Mapping[str, Callable[[Tensor], Tensor]] | None = None,
    site: str | None = None,
    num_samples: int = 1000,
    seed: int | None = None,
    chunk: int = 1000,
    vectorize: bool = True,
    **kwargs: Any,
) -> PredictiveCheck:
    """Compare statistics of the data with those of data sets drawn from the posterior predictive.

    Args:
        posterior: Whatever :func:`~pyro_dgm.inference.draws_of` takes.
        model: The model, with the data in its arguments or conditioned.
        *args: Arguments of the model, and of the guide.
        statistics: Functions from one data set, the value of the site, to a number; by default mean, standard
            deviation, least and largest entry.
        site: The observed site; it need not be named if there is one.
        num_samples: Number of data sets to draw.
        seed: Seed of all draws; the global random state is then left alone.
        chunk: Draws made at a time.
        vectorize: Whether model and guide may run once for many draws.
        **kwargs: Keyword arguments of model and guide.

    Raises:
        DataError: If the model observes nothing, or several sites and none is named.
        UnknownNameError: If it does not observe the site that is named.

    Reference:
        Gelman, Meng and Stern, Posterior Predictive Assessment of Model Fitness via Realized Discrepancies,
        Statistica Sinica 6, 1996.
    """
    how: dict[str, Any] = {"chunk": chunk, "vectorize": vectorize}
    program = Program(model, *args, **how, **kwargs)
    if site is not None and site not in program.observed:
        raise UnknownNameError.of("observed site", site, program.observed)
    if site is None and len(program.observed) != 1:
        raise DataError(
            f"the model observes {', '.join(program.observed) or 'nothing'}: "
            + ("name one by site=." if program.observed else "condition it on data first.")
        )
    name = site or program.observed[0]
    with seeded(seed):
        drawn = draws_of(posterior, model, *args, num_samples=num_samples, **how, **kwargs)
        data_sets = program.predictive(drawn.flat())[name]
    seen, functions = program.observations()[name], statistics or _STATISTICS
    return PredictiveCheck(
        {label: float(function(seen)) for label, function in functions.items()},
        {
            label: torch.stack([torch.as_tensor(function(x)) for x in data_sets]).double()
            for label, function in functions.items()
        },
    )
