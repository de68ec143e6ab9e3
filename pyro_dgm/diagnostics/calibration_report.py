"""What the ranks of true values among posterior draws say."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pyro_dgm.models.generative_model import seeded

__all__ = ["Calibration"]


@dataclass(frozen=True)
class Calibration:
    r"""Ranks of true values among posterior draws; uniform on 0, ..., L if the posteriors are right.

    Attributes:
        ranks: How many of the draws lie below the truth, for each data set and quantity: ``(n, q)``.
        num_draws: Number ``L`` of draws from each posterior.
        names: The quantities.
    """

    ranks: Tensor
    num_draws: int
    names: tuple[str, ...]

    def counts(self, bins: int | None = None) -> tuple[Tensor, Tensor]:
        """How many ranks fall in each bin, ``(bins, q)``, and how many uniform ones would, ``(bins,)``.

        By default there are at most 20 bins, with twenty ranks or more to be expected in each.
        """
        size, values = len(self.ranks), self.num_draws + 1
        bins = max(2, min(20, size // 20, values)) if bins is None else bins
        if not 2 <= bins <= values:
            raise ValueError(f"bins must be from 2 to the {values} values of a rank, but is {bins}.")
        observed = torch.zeros(bins, self.ranks.shape[1], dtype=torch.double)
        observed.scatter_add_(0, self.ranks * bins // values, torch.ones_like(self.ranks, dtype=torch.double))
        width = (torch.arange(values) * bins // values).bincount(minlength=bins)
        return observed, width.double() * size / values

    @property
    def p_values(self) -> Tensor:
        """For each quantity the probability of ranks at least as uneven as these, by a chi-squared test."""
        observed, expected = self.counts()
        statistic = ((observed - expected[:, None]).square() / expected[:, None]).sum(0)
        half: Tensor = torch.tensor((len(expected) - 1) / 2).double()
        p_values: Tensor = torch.special.gammaincc(half, statistic / 2)
        return p_values

    def coverage(self, level: float) -> Tensor:
        """Share of data sets whose truth lies in the central interval of ``level``, for each quantity."""
        # The truth's place in the order of draws and truth, at the middle of its cell.
        place = (self.ranks + 0.5) / (self.num_draws + 1)
        return ((place - 0.5).abs() <= level / 2).double().mean(0)

    def ecdf(self, num: int = 101) -> tuple[Tensor, Tensor]:
        """Levels ``(num,)`` in [0, 1], and the share of ranks up to each, ``(num, q)``."""
        levels = torch.linspace(0, 1, num, dtype=torch.double)
        place = (self.ranks + 1.0).double() / (self.num_draws + 1)
        return levels, (place[None] <= levels[:, None, None] + 1e-12).double().mean(1)

    def band(self, probability: float = 0.95, num: int = 101, simulations: int = 2000) -> Tensor:
        """Half-widths ``(num,)`` around the uniform law within which the whole ECDF stays so often.

        They are equally many standard errors at each level; how many is found by simulating uniform ranks.
        """
        size, values = len(self.ranks), self.num_draws + 1
        levels = torch.linspace(0, 1, num, dtype=torch.double)
        law = (levels * values + 1e-9).floor() / values
        error = (law * (1 - law) / size).sqrt()
        inside = error > 0
        with seeded(0):
            steps = torch.cat([law[:1], law.diff()]).clamp_min(0)
            # Multinomial counts between the levels, accumulated: the ECDF of uniform ranks.
            drawn = torch.distributions.Multinomial(size, probs=steps).sample((simulations,))
        far = ((drawn.cumsum(-1) / size - law).abs()[:, inside] / error[inside]).max(-1).values
        band: Tensor = far.quantile(probability) * error
        return band

    @property
    def calibrated(self) -> bool:
        """Whether no quantity's ranks are uneven, at one percent over all of them (Bonferroni)."""
        return bool(self.p_values.min() > 0.01 / len(self.names))

    @property
    def sentence(self) -> str:
        """The verdict in plain words."""
        if self.calibrated:
            return f"Nothing speaks against these posteriors: the ranks of {len(self.ranks)} truths are even."
        return "These posteriors are wrong: " + "; ".join(self.faults.values()) + "."

    @property
    def faults(self) -> dict[str, str]:
        """What is wrong, in words, with each quantity whose ranks are uneven."""
        return {self.names[i]: self._fault(i) for i in self._bad()}

    def __str__(self) -> str:
        width = max(map(len, self.names))
        head = (
            f"{'quantity'.ljust(width)}  chi2 p    covered by the 50%, 90% intervals (± {self._error():.2f})"
        )
        rows = [
            f"{name.ljust(width)}  {p:<8.2g}  {half:.2f}, {most:.2f}"
            for name, p, half, most in zip(
                self.names,
                self.p_values.tolist(),
                self.coverage(0.5).tolist(),
                self.coverage(0.9).tolist(),
                strict=True,
            )
        ]
        title = f"Ranks of {len(self.ranks)} truths among {self.num_draws} draws each"
        return "\n".join([title, head, *rows, self.sentence])

    def _bad(self) -> list[int]:
        return (self.p_values <= 0.01 / len(self.names)).nonzero().flatten().tolist()

    def _error(self) -> float:
        return 0.5 / math.sqrt(len(self.ranks))

    def _fault(self, i: int) -> str:
        """What the shape of the ranks says of one quantity: first and second moments of uniform ones."""
        place = (self.ranks[:, i] + 0.5) / (self.num_draws + 1)
        root = math.sqrt(len(place))
        shift = (place.mean() - 0.5).item() * math.sqrt(12) * root
        spread = ((place - 0.5).square().mean() - 1 / 12).item() * math.sqrt(180) * root
        name = self.names[i]
        if max(abs(shift), abs(spread)) < 3:
            return f"{name} has ranks of an odd shape"
        if abs(shift) > abs(spread):
            return f"{name} is drawn too {'low' if shift > 0 else 'high'}"
        return f"{name} is drawn too {'narrow' if spread > 0 else 'wide'}"
