"""The normalisation layers that the convolutional networks can be built with."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from pyro_dgm.errors import ShapeError, UnknownNameError

__all__ = ["Norm", "norm_layer"]

Norm = Literal["batch", "group", "layer"]


def norm_layer(norm: Norm | None, channels: int) -> nn.Module:
    """Return the normalisation of a feature map of ``channels`` channels.

    ``"group"`` and ``"layer"`` treat every row by itself, ``"batch"`` does not: a critic with a gradient
    penalty must not use it, since the penalty asks for the slope of one row's score at one row.

    Args:
        norm: ``"batch"``, ``"group"`` (groups of 8 channels or fewer), ``"layer"`` (all channels and
            pixels of a row together), or None for none.
        channels: Number of channels.

    Example:
        >>> norm_layer("group", 32).num_groups
        4
    """
    if norm is None:
        return nn.Identity()
    if norm == "batch":
        return BatchNorm2d(channels)
    if norm == "group":
        return nn.GroupNorm(channels // 8 if channels % 8 == 0 else 1, channels)
    if norm == "layer":
        return nn.GroupNorm(1, channels)
    raise UnknownNameError.of("norm", str(norm), ["batch", "group", "layer", "None"])


class BatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation that does not pretend to normalise over a batch of one."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise images ``(n, C, H, W)``."""
        if self.training and len(x) == 1:
            raise ShapeError(
                "batch normalisation in training mode needs more than one row, but the batch has one: its "
                "statistics would be those of that row. Choose a batch_size that leaves no single row over, "
                "build the network with norm='group', or call .eval() first."
            )
        return super().forward(x)
