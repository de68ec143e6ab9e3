"""Noise on the rows that the critic sees, which fades as training goes on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pyro_dgm.objectives.regulariser import Regulariser

__all__ = ["InstanceNoise"]


class InstanceNoise(Regulariser):
    r"""Adds normal noise to real and generated rows alike, so that their distributions overlap.

    .. math:: \sigma_t = \sigma \max(0, 1 - t / T)

    Two distributions on thin sets can be told apart perfectly, and the generator then learns nothing; with
    noise they cannot. The equilibrium stays where it was.

    Args:
        sd: The standard deviation sigma at the start, in units of the data.
        steps: The number T of steps after which the noise is gone; None keeps it.

    Reference:
        Arjovsky and Bottou, Towards Principled Methods for Training Generative Adversarial Networks, ICLR
        2017. https://arxiv.org/abs/1701.04862
        Sønderby et al., Amortised MAP Inference for Image Super-resolution, ICLR 2017 (annealing).
        https://arxiv.org/abs/1610.04490

    Example:
        >>> noise = InstanceNoise(0.2, steps=10)
        >>> for _ in range(5):
        ...     noise.after_step(nn.Identity(), nn.Identity())
        >>> noise.current_sd
        0.1
    """

    def __init__(self, sd: float = 0.1, *, steps: int | None = None) -> None:
        if sd < 0 or (steps is not None and steps < 1):
            raise ValueError(f"InstanceNoise needs sd >= 0 and steps >= 1, got sd={sd}, steps={steps}.")
        self.sd, self.num_steps, self.steps = sd, steps, 0

    @property
    def current_sd(self) -> float:
        """The standard deviation of the next step."""
        return self.sd if self.num_steps is None else self.sd * max(0.0, 1 - self.steps / self.num_steps)

    def perturbed(self, rows: Tensor) -> Tensor:
        """Return the rows with fresh noise."""
        sd = self.current_sd
        return rows + sd * torch.randn_like(rows) if sd > 0 else rows

    def after_step(self, model: nn.Module, critic: nn.Module) -> None:
        """Count the step."""
        self.steps += 1

    def state_dict(self) -> dict[str, Any]:
        """Return the number of steps."""
        return {"steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a number of steps."""
        self.steps = state["steps"]

    def __repr__(self) -> str:
        return f"InstanceNoise({self.sd}, steps={self.num_steps})"
