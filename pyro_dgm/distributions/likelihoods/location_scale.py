"""Real entries: a location from the decoder, and a scale that is fixed, learned or decoded."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from pyro_dgm.distributions.likelihoods.likelihood import EntrywiseLikelihood

__all__ = ["Gaussian", "StudentT"]


class _LocationScale(EntrywiseLikelihood):
    def __init__(
        self,
        event_dim: int,
        scale: float,
        learned: bool | Sequence[int],
        decoded: bool,
        min_scale: float,
    ) -> None:
        super().__init__(event_dim, 2 if decoded else 1)
        if not 0 < min_scale <= scale:
            raise ValueError(
                f"scale must be at least min_scale, and that positive, but they are {scale} and {min_scale}."
            )
        if decoded and learned is not False:
            raise ValueError("a scale is either learned or decoded: give one of the two.")
        self.min_scale, self.decoded = min_scale, decoded
        # softplus of this is scale - min_scale
        start = math.log(math.expm1(max(scale - min_scale, 1e-6)))
        self.start = start
        if learned is False:
            self.register_buffer("fixed_scale", torch.tensor(scale), persistent=False)
        else:
            shape = () if learned is True else tuple(learned)
            self.raw_scale = nn.Parameter(torch.full(shape, start))
        self.learned = learned is not False

    def location_and_scale(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        if self.decoded:
            return outputs[0], self.min_scale + softplus(outputs[1] + self.start)
        return outputs, self.scale

    @property
    def scale(self) -> Tensor:
        """The scale, unless it is decoded: one for all entries, or one for each."""
        if self.learned:
            return self.min_scale + softplus(self.raw_scale)
        fixed: Tensor = self.fixed_scale  # type: ignore[assignment]
        return fixed


class Gaussian(_LocationScale):
    """Independent normal entries around the decoder's output.

    With a scale that is learned or decoded the density has no upper bound: constant entries, such as the
    corners of images, let it grow until the scale is at ``min_scale``, which therefore belongs beside every
    figure.

    Args:
        event_dim: Rank of one row: 1 for vectors, 3 for images ``(C, H, W)``.
        scale: Standard deviation; where it is learned or decoded, its value at the start.
        learned: Whether the scale trains: True for one scale of all entries, or a shape, that of a row for a
            scale of each entry.
        decoded: Whether the decoder gives each entry a scale of its own beside the location; its output is
            then twice as large, see :class:`~pyro_dgm.distributions.likelihoods.EntrywiseLikelihood`.
        min_scale: The least scale.

    Example:
        >>> Gaussian(event_dim=3, scale=0.1, learned=(1, 8, 8))(torch.zeros(5, 1, 8, 8)).event_shape
        torch.Size([1, 8, 8])
    """

    def __init__(
        self,
        event_dim: int = 1,
        *,
        scale: float = 1.0,
        learned: bool | Sequence[int] = False,
        decoded: bool = False,
        min_scale: float = 1e-3,
    ) -> None:
        super().__init__(event_dim, scale, learned, decoded, min_scale)

    def of_entries(self, outputs: Tensor) -> dist.TorchDistribution:
        """Return normal entries."""
        normal: dist.TorchDistribution = dist.Normal(*self.location_and_scale(outputs))
        return normal


class StudentT(_LocationScale):
    """Independent entries of Student's t around the decoder's output: real data with outliers.

    Args:
        event_dim: Rank of one row: 1 for vectors, 3 for images ``(C, H, W)``.
        df: Degrees of freedom; above 1, so that there is a mean.
        scale: Scale; where it is learned or decoded, its value at the start.
        learned: As in :class:`Gaussian`.
        decoded: As in :class:`Gaussian`.
        min_scale: The least scale.

    Example:
        >>> StudentT(df=4.0, decoded=True)(torch.zeros(5, 6)).event_shape
        torch.Size([3])
    """

    def __init__(
        self,
        event_dim: int = 1,
        *,
        df: float = 4.0,
        scale: float = 1.0,
        learned: bool | Sequence[int] = False,
        decoded: bool = False,
        min_scale: float = 1e-3,
    ) -> None:
        super().__init__(event_dim, scale, learned, decoded, min_scale)
        if df <= 1:
            raise ValueError(f"df must be above 1, but is {df}: below there is no mean to reconstruct.")
        self.df = df

    def of_entries(self, outputs: Tensor) -> dist.TorchDistribution:
        """Return entries of Student's t."""
        entries: dist.TorchDistribution = dist.StudentT(self.df, *self.location_and_scale(outputs))
        return entries
