"""Masses of mixtures of logistic densities over equal bins."""

from __future__ import annotations

from typing import Any, Self

import torch
from pyro.distributions import TorchDistribution
from torch import Size, Tensor
from torch.distributions import constraints
from torch.nn.functional import logsigmoid

from pyro_dgm.distributions.standard_base import Shape

__all__ = ["DiscretizedLogistic", "Levels"]


class Levels(constraints.Constraint):
    """The ``levels`` equally spaced numbers from 0 to 1."""

    is_discrete = True

    def __init__(self, levels: int) -> None:
        self.levels = levels
        super().__init__()

    def check(self, value: Tensor) -> Tensor:
        """Say for each entry whether it is one of the levels."""
        steps = value * (self.levels - 1)
        return (value >= 0) & (value <= 1) & ((steps - steps.round()).abs() < 1e-3)

    def __repr__(self) -> str:
        return f"Levels({self.levels}): multiples of 1/{self.levels - 1} in [0, 1]"


class DiscretizedLogistic(TorchDistribution):
    r"""A mixture of logistic densities on the line, each level taking the mass of its bin.

    .. math:: P(x) = \sum_m \pi_m \left[\sigma\left(\frac{x + w/2 - \mu_m}{s_m}\right) -
              \sigma\left(\frac{x - w/2 - \mu_m}{s_m}\right)\right], \qquad w = \frac{1}{L - 1}

    The bins of the first and the last level reach to infinity, so that the masses sum to one. The difference
    is computed as :math:`\sigma(b) - \sigma(a) = \sigma(b) \sigma(-a) (1 - e^{a - b})`, in which nothing
    cancels.

    Args:
        loc: Locations, of shape ``(*batch, M)``.
        scale: Positive scales, of the same shape.
        logits: Logits of the mixture's weights, of the same shape; equal weights by default.
        levels: Number ``L`` of levels: 256 for images of 8 bits divided by 255.
        validate_args: Whether values are checked; by default as Pyro's global setting says.

    Shape:
        Values ``(*batch,)`` among ``0, 1 / (L - 1), ..., 1``.

    Reference:
        Salimans, Karpathy, Chen and Kingma, PixelCNN++, ICLR 2017. https://arxiv.org/abs/1701.05517

    Example:
        >>> pixel = DiscretizedLogistic(torch.tensor([0.3, 0.9]), torch.tensor([0.1, 0.02]))
        >>> pixel.log_prob(torch.arange(256) / 255).exp().sum()
        tensor(1.0000)
    """

    arg_constraints: dict[str, Any] = {}
    has_rsample = False

    def __init__(
        self,
        loc: Tensor,
        scale: Tensor,
        logits: Tensor | None = None,
        *,
        levels: int = 256,
        validate_args: bool | None = None,
    ) -> None:
        self.loc, self.scale, self.levels = loc, scale, levels
        self.logits = torch.zeros_like(loc) if logits is None else logits
        super().__init__(loc.shape[:-1], validate_args=validate_args)

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> Levels:
        """The levels."""
        return Levels(self.levels)

    def expand(self, batch_shape: Shape, _instance: None = None) -> Self:
        """Return a copy of another ``batch_shape``."""
        shape = Size(batch_shape) + self.loc.shape[-1:]
        loc, scale, logits = (t.expand(shape) for t in (self.loc, self.scale, self.logits))
        return type(self)(loc, scale, logits, levels=self.levels, validate_args=self._validate_args)

    def log_prob(self, value: Tensor) -> Tensor:
        """The log-mass of ``value``, in nats."""
        if self._validate_args:
            self._validate_sample(value)
        x = value.unsqueeze(-1)
        half = 0.5 / (self.levels - 1)
        upper, lower = (x + half - self.loc) / self.scale, (x - half - self.loc) / self.scale
        log_upper, log_lower = logsigmoid(upper), logsigmoid(-lower)
        inside = log_upper + log_lower + torch.log(-torch.expm1(-2 * half / self.scale))
        log_mass = torch.where(x < half, log_upper, torch.where(x > 1 - half, log_lower, inside))
        return torch.logsumexp(log_mass + self.logits.log_softmax(-1), -1)

    @property
    def mean(self) -> Tensor:
        """The mean of the mixture before it is put into bins, cut to [0, 1]."""
        return (self.logits.softmax(-1) * self.loc).sum(-1).clamp(0, 1)

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        """Draw levels."""
        with torch.no_grad():
            shape = Size(sample_shape) + self.batch_shape
            which = torch.distributions.Categorical(logits=self.logits, validate_args=False)
            index = which.sample(Size(sample_shape)).unsqueeze(-1)
            wide = shape + self.loc.shape[-1:]
            loc, scale = (t.expand(wide).gather(-1, index).squeeze(-1) for t in (self.loc, self.scale))
            x = loc + scale * torch.rand_like(loc).clamp(1e-7, 1 - 1e-7).logit()
            return (x * (self.levels - 1)).round().clamp(0, self.levels - 1) / (self.levels - 1)
