"""Entries that are one of several classes."""

from __future__ import annotations

import pyro.distributions as dist
from torch import Size, Tensor

from pyro_dgm.distributions.likelihoods.likelihood import EntrywiseLikelihood
from pyro_dgm.distributions.standard_base import Shape

__all__ = ["Categorical", "Classes"]


class Classes(dist.Categorical):
    """A categorical distribution whose draws are floats, as rows of data are, and whose mean is the mode.

    Example:
        >>> import torch
        >>> Classes(logits=torch.tensor([0.0, 9.0])).mean
        tensor(1.)
    """

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        """Draw class numbers."""
        drawn: Tensor = super().sample(Size(sample_shape))  # type: ignore[no-untyped-call]
        return drawn.to(self.logits.dtype)

    @property
    def mean(self) -> Tensor:
        """The most probable class: a class number between two classes would be none."""
        return self.logits.argmax(-1).to(self.logits.dtype)


class Categorical(EntrywiseLikelihood):
    """Independent entries that are class numbers 0, 1, ..., from logits.

    Args:
        num_classes: Number of classes of each entry.
        event_dim: Rank of one row: 1 for vectors, 3 for images ``(C, H, W)``.

    Shape:
        Logits ``(*batch, num_classes * D, *rest)``, see
        :class:`~pyro_dgm.distributions.likelihoods.EntrywiseLikelihood`; rows ``(D, *rest)``.

    Example:
        >>> import torch
        >>> Categorical(3)(torch.zeros(5, 6)).event_shape
        torch.Size([2])
    """

    def __init__(self, num_classes: int, event_dim: int = 1) -> None:
        if num_classes < 2:
            raise ValueError(f"Categorical needs at least two classes, but num_classes is {num_classes}.")
        super().__init__(event_dim, num_classes)

    def of_entries(self, outputs: Tensor) -> dist.TorchDistribution:
        """Return categorical entries."""
        return Classes(logits=outputs.movedim(0, -1))
