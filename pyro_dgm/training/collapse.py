"""A callback that watches the latents of a VAE while it trains."""

from __future__ import annotations

import warnings
from typing import Any

from torch import Tensor

from pyro_dgm.diagnostics.latents import latent_report
from pyro_dgm.training.budget import positive_int
from pyro_dgm.training.callbacks import Callback, FitState

__all__ = ["CollapseWarning", "LatentWatch"]


class CollapseWarning(UserWarning):
    """The decoder of a VAE ignores its latents, or nearly all of them."""


class LatentWatch(Callback):
    """Enters into the history how many latent dimensions a VAE uses, and warns at the end if none.

    The columns ``active_units``, ``rate`` and ``distortion`` get a value every so many steps, measured on the
    given rows in evaluation mode: posterior collapse shows as a rate that falls to zero.

    Args:
        x: Rows to measure on, a few hundred, held out or not.
        every: Number of steps between the measurements.
        context: What the rows are conditioned on, or None.

    Example:
        >>> import torch
        >>> watch = LatentWatch(torch.zeros(10, 4), every=50)
        >>> watch.every
        50
    """

    def __init__(self, x: Tensor, *, every: int = 100, context: Tensor | None = None) -> None:
        self.x, self.context, self.every = x, context, positive_int("every", every)

    def on_step(self, state: FitState) -> None:
        """Measure, and enter the figures into the row of the last step."""
        report = latent_report(self._vae(state), self.x, context=self.context)
        values = {"active_units": report.num_active, "rate": report.rate, "distortion": report.reconstruction}
        state.history.record(state.step - 1, {name: float(value) for name, value in values.items()})

    def on_end(self, state: FitState) -> None:
        """Warn if the posterior has collapsed."""
        report = latent_report(self._vae(state), self.x, context=self.context)
        if report.num_active == 0:
            warnings.warn(
                f"posterior collapse: none of the {len(report.active)} latent dimensions depends on the rows "
                f"(rate {report.rate:.4f} nats). Warm the divergence up (warm_up=, free_bits= of ELBO), "
                "lower beta, or take a weaker decoder.",
                CollapseWarning,
                stacklevel=2,
            )

    def _vae(self, state: FitState) -> Any:
        return state.objective.model
