"""The posterior of a simulator for any data, as a sampler without a density."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

import torch
from torch import Tensor

from pyro_dgm.inference.linear_trend import LinearTrend
from pyro_dgm.inference.simulations import Simulations
from pyro_dgm.models import ImplicitGenerator
from pyro_dgm.models.generative_model import Capabilities, evaluating, seeded
from pyro_dgm.training import History

__all__ = ["ImplicitPosterior"]


class ImplicitPosterior:
    """What :func:`~pyro_dgm.inference.adversarial_posterior` learned: draws of latents for any data.

    Args:
        generator: Draws residuals of standardised unbounded vectors of the latents, given standardised data.
        simulations: What it was learned from, with the layouts of latents and data.
        trend: What they are residuals of.
        history: The history of training.
    """

    def __init__(
        self, generator: ImplicitGenerator, simulations: Simulations, trend: LinearTrend, history: History
    ) -> None:
        self.generator, self.trend, self.history = generator, trend, history
        self.layout, self.observed = simulations.layout, simulations.observed
        self._latents, self._data = simulations.standard_latents(), simulations.standard_data()

    @property
    def capabilities(self) -> Capabilities:
        """Draws, and nothing else."""
        return self.generator.capabilities

    @torch.no_grad()
    def sample(
        self, data: Tensor | Mapping[str, Tensor], num_samples: int = 1000, *, seed: int | None = None
    ) -> dict[str, Tensor]:
        """Draw from the posterior of one data set: ``(num_samples, *site)``. Of many: ``(n, num, *site)``.

        Raises:
            ShapeError: If a value has not the shape that the simulator gives it.
            DataError: If an observed site is missing, or a value not finite.
        """
        loc, scale = self._data
        context = (self.observed.pack(data).to(loc) - loc) / scale
        each = context[..., None, :].expand(*context.shape[:-1], num_samples, -1)
        with seeded(seed), evaluating(self.generator):
            drawn = self.trend.restore(self.generator.distribution(each).sample(), each)
        return self.layout.unpack(self._latents[0] + self._latents[1] * drawn)

    def log_prob(self, samples: Mapping[str, Tensor], data: Tensor | Mapping[str, Tensor]) -> NoReturn:
        """There is none.

        Raises:
            NotImplementedError: Always; it says what to use instead.
        """
        raise NotImplementedError(
            "an ImplicitPosterior has no density, so neither weights nor k-hat: judge its draws by "
            "diagnostics.calibration and tarp, or learn a density by inference.neural_posterior."
        )
