"""The continuous Bernoulli distribution, as an exponential tilt of the uniform one."""

from __future__ import annotations

from typing import Any, Self

import torch
from pyro.distributions import TorchDistribution
from torch import Size, Tensor
from torch.distributions import constraints
from torch.distributions.utils import lazy_property

from pyro_dgm.distributions.standard_base import Shape

__all__ = ["TiltedUniform"]

_NEAR = 0.1


class TiltedUniform(TorchDistribution):
    r"""The density on [0, 1] that is proportional to :math:`e^{a x}`: the continuous Bernoulli.

    .. math:: \log p(x) = a \left(x - \tfrac12\right) - \log \frac{\sinh(a/2)}{a/2}

    In this form nothing cancels or overflows for any logit, and near :math:`a = 0`, the uniform
    distribution, a series gives value and gradients. It equals
    :math:`\log C(\lambda) + x \log \lambda + (1 - x) \log(1 - \lambda)` at
    :math:`\lambda = \mathrm{sigmoid}(a)`.

    Args:
        logits: The tilt :math:`a`, of any shape, which is the batch shape.
        validate_args: Whether values are checked; by default as Pyro's global setting says.

    Reference:
        Loaiza-Ganem and Cunningham, The continuous Bernoulli, NeurIPS 2019. https://arxiv.org/abs/1907.06845

    Example:
        >>> TiltedUniform(torch.tensor([0.0, 2.0])).mean
        tensor([0.5000, 0.6565])
    """

    arg_constraints: dict[str, Any] = {"logits": constraints.real}
    support = constraints.unit_interval
    has_rsample = True

    def __init__(self, logits: Tensor, *, validate_args: bool | None = None) -> None:
        self.logits = logits
        super().__init__(logits.shape, validate_args=validate_args)

    def expand(self, batch_shape: Shape, _instance: None = None) -> Self:
        """Return a copy of another ``batch_shape``."""
        return type(self)(self.logits.expand(Size(batch_shape)), validate_args=self._validate_args)

    def log_prob(self, value: Tensor) -> Tensor:
        """The log-density of ``value``, in nats."""
        if self._validate_args:
            self._validate_sample(value)
        return self.logits * (value - 0.5) - self._log_constant

    @lazy_property
    def _log_constant(self) -> Tensor:
        """log(sinh(y) / y) for y = a / 2."""
        y = 0.5 * self.logits.abs()
        near = y < _NEAR / 2
        square = y.where(near, torch.zeros_like(y)).square()
        series = square * (1 / 6 - square * (1 / 180 - square * (1 / 2835 - square / 37800)))
        far = y.masked_fill(near, 1.0)
        return torch.where(near, series, far + torch.log1p(-torch.exp(-2 * far)) - torch.log(2 * far))

    @property
    def mean(self) -> Tensor:
        """The mean: 1/2 plus half of coth(y) - 1 / y for y = a / 2."""
        y = 0.5 * self.logits
        near = y.abs() < _NEAR / 2
        square = y.square()
        series = y * (1 / 3 - square * (1 / 45 - square * (2 / 945 - square / 4725)))
        far = y.masked_fill(near, 1.0)
        return 0.5 + 0.5 * torch.where(near, series, 1 / torch.tanh(far) - 1 / far)

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        """Draw samples by the inverse of the distribution function."""
        shape = Size(sample_shape) + self.batch_shape
        u = torch.rand(shape, dtype=self.logits.dtype, device=self.logits.device)
        a = self.logits.abs().expand(shape)
        near = a < 1e-3
        far = a.masked_fill(near, 1.0)
        # for a > 0: the largest exponent is 0; a negative tilt is the mirror image
        tilted = 1 + torch.log(u + (1 - u) * torch.exp(-far)) / far
        first_order = u + 0.5 * a * u * (1 - u)
        x = torch.where(near, first_order, tilted).clamp(0, 1)
        return torch.where(self.logits < 0, 1 - x, x)
