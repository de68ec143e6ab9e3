"""The distribution of a sampler: a base pushed through any differentiable map."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import torch
from pyro.distributions import TorchDistribution
from torch import Size, Tensor
from torch.distributions import Distribution, constraints

from pyro_dgm.errors import ShapeError

__all__ = ["NO_DENSITY", "ImplicitDistribution"]

Shape = Size | list[int] | tuple[int, ...]

NO_DENSITY = (
    "{what} has no density: x = g(z) need not be invertible, and its values may fill a set of volume zero. "
    "Train it with objectives.Adversarial, compare its draws with data by metrics.energy_distance, and where "
    "a likelihood is needed use a model that has one: NormalizingFlow (exact) or VAE (a bound)."
)


class ImplicitDistribution(TorchDistribution):
    """The push-forward of a base distribution by a map without a known density.

    It can be sampled, with gradients that reach the map and the base, and nothing else: it serves as a
    Pyro site that is drawn, never as one that is observed.

    Args:
        base: Distribution of the latent, with ``rsample`` where gradients are wanted.
        transform: Differentiable map from ``(*sample, *batch, *base_event)`` to
            ``(*sample, *batch, *event)``, each row by itself.
        event_shape: Shape of one row of the output.
        validate_args: Whether arguments are checked; by default as Pyro's global setting says.

    Shape:
        ``sample`` and ``rsample``: ``(*sample, *batch, *event)``, with the batch shape of the base.

    Raises:
        ShapeError: If the map gives rows of another shape than ``event_shape``.

    Reference:
        Mohamed and Lakshminarayanan, Learning in Implicit Generative Models, 2016.
        https://arxiv.org/abs/1610.03483

    Example:
        >>> import pyro.distributions as dist
        >>> circle = ImplicitDistribution(
        ...     dist.Uniform(0.0, 6.28), lambda t: torch.stack((t.cos(), t.sin()), -1), event_shape=(2,)
        ... )
        >>> circle.rsample((5,)).shape
        torch.Size([5, 2])
    """

    arg_constraints: dict[str, Any] = {}

    def __init__(
        self,
        base: TorchDistribution,
        transform: Callable[[Tensor], Tensor],
        event_shape: Sequence[int],
        *,
        validate_args: bool | None = None,
    ) -> None:
        self.base, self.transform = base, transform
        self.has_rsample = bool(base.has_rsample)
        Distribution.__init__(self, base.batch_shape, Size(event_shape), validate_args=validate_args)

    @property
    def support(self) -> constraints.Constraint:
        """Real rows; where in that space the draws lie is not known."""
        return constraints.independent(constraints.real, len(self.event_shape))

    def expand(self, batch_shape: Shape, _instance: None = None) -> ImplicitDistribution:
        """Return this distribution with another ``batch_shape``."""
        base = self.base.expand(Size(batch_shape))
        return ImplicitDistribution(base, self.transform, self.event_shape, validate_args=self._validate_args)

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        """Draw samples through which gradients reach the map and, where it has ``rsample``, the base."""
        draw = self.base.rsample if self.base.has_rsample else self.base.sample
        x = self.transform(draw(Size(sample_shape)))
        wanted = Size(sample_shape) + self.batch_shape + self.event_shape
        if x.shape != wanted:
            raise ShapeError(
                f"the map of this implicit distribution should give shape {tuple(wanted)} here, sample by "
                f"batch by event_shape={tuple(self.event_shape)}, but gave {tuple(x.shape)}. Pass the "
                f"event shape of the map's output, and keep the dimensions on its left."
            )
        return x

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        """Draw samples without gradients."""
        with torch.no_grad():
            return self.rsample(sample_shape)

    def log_prob(self, value: Tensor) -> NoReturn:
        """There is none.

        Raises:
            NotImplementedError: Always; it says what to use instead.
        """
        raise NotImplementedError(NO_DENSITY.format(what="an implicit distribution"))
