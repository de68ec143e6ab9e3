"""Batch normalisation as a layer of a flow."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pyro_dgm.errors import DataError
from pyro_dgm.transforms import Bijection, ChannelAffine

__all__ = ["BatchNorm"]


class BatchNorm(nn.Module):
    r"""A layer that normalises each channel by the statistics of the batch, invertibly.

    From the data side to the base side, with mean ``m`` and variance ``v`` of each channel,

    .. math:: u = \frac{x - m}{\sqrt{v + \epsilon}} e^{\gamma} + \beta, \qquad
              \log|\det| = n \sum_c \left( \gamma_c - \tfrac12 \log(v_c + \epsilon) \right)

    for ``n`` entries in a channel. In training mode, with gradients enabled, ``m`` and ``v`` are those of the
    batch that passes: rows are then not independent, and the round trip is not exact, since draws use the
    kept statistics. In evaluation mode the layer is an exact bijection with the kept statistics: moving
    averages over training batches, until :meth:`set_statistics`, or that of the
    :class:`~pyro_dgm.flows.Composition` around it, puts those of the whole data set in their place. Report
    no likelihood from anything else.

    Args:
        num_channels: Size ``C`` of the event's first axis.
        rank: Number of dimensions of an event: 1 for vectors ``(C,)``, 3 for images ``(C, H, W)``.
        momentum: Weight of a new batch in the moving averages.
        epsilon: Added to the variance.

    Returns:
        Called, with or without a context: the bijection.

    Reference:
        Papamakarios, Pavlakou and Murray, Masked Autoregressive Flow for Density Estimation, NeurIPS 2017,
        section 3.5. https://arxiv.org/abs/1705.07057

    Example:
        >>> layer = BatchNorm(2)
        >>> layer.set_statistics(5 + 3 * torch.randn(100, 2))
        >>> layer.eval()().inverse_and_ladj(torch.zeros(4, 2))[0].shape
        torch.Size([4, 2])
    """

    mean: Tensor
    variance: Tensor

    def __init__(
        self, num_channels: int, *, rank: int = 1, momentum: float = 0.1, epsilon: float = 1e-5
    ) -> None:
        super().__init__()
        if num_channels < 1 or rank < 1 or not 0 < momentum <= 1 or epsilon <= 0:
            raise ValueError(
                "BatchNorm needs num_channels >= 1, rank >= 1, 0 < momentum <= 1 and epsilon > 0, but "
                f"got {num_channels=}, {rank=}, {momentum=}, {epsilon=}."
            )
        self.rank, self.momentum, self.epsilon = rank, momentum, epsilon
        self.log_gain, self.offset = (
            nn.Parameter(torch.zeros(num_channels)),
            nn.Parameter(torch.zeros(num_channels)),
        )
        self.register_buffer("mean", torch.zeros(num_channels))
        self.register_buffer("variance", torch.ones(num_channels))

    def forward(self, context: Tensor | None = None) -> Bijection:
        """Return the bijection; it does not depend on the ``context``."""
        return _OfBatch(self) if self.training else self.bijection(self.mean, self.variance)

    def bijection(self, mean: Tensor, variance: Tensor) -> ChannelAffine:
        """The bijection with the given statistics."""
        # x = (u - beta) sqrt(v + eps) exp(-gamma) + m
        log_scale = 0.5 * (variance + self.epsilon).log() - self.log_gain
        return ChannelAffine(mean - self.offset * log_scale.exp(), log_scale, rank=self.rank)

    @torch.no_grad()
    def set_statistics(self, value: Tensor) -> None:
        """Keep the mean and the variance of the rows ``value``, as they enter from the data side.

        Raises:
            DataError: If there is no row, or a value is not finite.
        """
        if not value.numel() or not value.isfinite().all():
            raise DataError(
                f"the statistics of a BatchNorm are those of finite rows, but value has shape "
                f"{tuple(value.shape)} and {int((~value.isfinite()).sum())} entries that are not finite. "
                "Pass the whole training set."
            )
        mean, variance = self._moments(value.detach().double())
        self.mean.copy_(mean)
        self.variance.copy_(variance)

    @torch.no_grad()
    def follow(self, mean: Tensor, variance: Tensor) -> None:
        """Move the kept statistics towards those of a batch."""
        self.mean.lerp_(mean.detach(), self.momentum)
        self.variance.lerp_(variance.detach(), self.momentum)

    def _moments(self, value: Tensor) -> tuple[Tensor, Tensor]:
        rows = value.movedim(-self.rank, -1).reshape(-1, len(self.mean))
        mean = rows.mean(0)
        return mean, (rows - mean).square().mean(0)

    def extra_repr(self) -> str:
        """State the sizes in ``repr``."""
        return f"{len(self.mean)}, rank={self.rank}"


class _OfBatch(ChannelAffine):
    """The bijection of training mode: the batch's own statistics from the data side to the base side."""

    def __init__(self, layer: BatchNorm) -> None:
        kept = layer.bijection(layer.mean, layer.variance)
        super().__init__(kept.shift, kept.log_scale, rank=layer.rank)
        self.layer = layer

    def inverse_and_ladj(self, y: Tensor) -> tuple[Tensor, Tensor]:
        rows = y.numel() // len(self.shift)
        if not torch.is_grad_enabled() or rows < 2:  # one row has no variance
            return super().inverse_and_ladj(y)
        mean, variance = self.layer._moments(y)
        self.layer.follow(mean, variance)
        return self.layer.bijection(mean, variance).inverse_and_ladj(y)
