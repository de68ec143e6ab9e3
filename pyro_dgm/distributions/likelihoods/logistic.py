"""Pixels with a finite number of grey levels."""

from __future__ import annotations

import pyro.distributions as dist
from torch import Tensor
from torch.nn.functional import softplus

from pyro_dgm.distributions.discretized_logistic import DiscretizedLogistic
from pyro_dgm.distributions.likelihoods.likelihood import EntrywiseLikelihood

__all__ = ["DiscretizedLogisticMixture"]


class DiscretizedLogisticMixture(EntrywiseLikelihood):
    """Independent pixels of ``levels`` grey levels between 0 and 1, each a mixture of logistic densities.

    A true likelihood of images of 8 bits: bits per dimension are -log p / (D log 2).

    Args:
        event_dim: Rank of one row: 1 for vectors, 3 for images ``(C, H, W)``.
        components: Number ``M`` of logistic densities of each pixel.
        levels: Number of levels.
        min_scale: The least scale of a component.

    Shape:
        Output of the decoder: location, scale and, for more than one component, weight of each, so
        ``(*batch, 3 M C, H, W)``, or ``(*batch, 2 C, H, W)`` for one component; see
        :class:`~pyro_dgm.distributions.likelihoods.EntrywiseLikelihood`. A decoder at zero gives a broad
        density around the middle.

    Reference:
        Salimans, Karpathy, Chen and Kingma, PixelCNN++, ICLR 2017. https://arxiv.org/abs/1701.05517

    Example:
        >>> import torch
        >>> pixels = DiscretizedLogisticMixture(event_dim=3, components=2)(torch.zeros(5, 6, 8, 8))
        >>> pixels.event_shape
        torch.Size([1, 8, 8])
    """

    def __init__(
        self, event_dim: int = 3, *, components: int = 1, levels: int = 256, min_scale: float = 1e-3
    ) -> None:
        if components < 1 or levels < 2 or min_scale <= 0:
            raise ValueError(
                f"components must be at least 1, levels at least 2 and min_scale positive, but are "
                f"{components}, {levels} and {min_scale}."
            )
        super().__init__(event_dim, 2 if components == 1 else 3 * components)
        self.components, self.levels, self.min_scale = components, levels, min_scale

    def of_entries(self, outputs: Tensor) -> dist.TorchDistribution:
        """Return pixels."""
        parts = outputs.unflatten(0, (-1, self.components)).movedim(1, -1)
        loc, scale = 0.5 + parts[0], self.min_scale + 0.2 * softplus(parts[1])
        return DiscretizedLogistic(loc, scale, parts[2] if len(parts) == 3 else None, levels=self.levels)
