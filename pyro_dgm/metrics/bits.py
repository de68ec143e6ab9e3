"""Bits per dimension."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from pyro_dgm.errors import ShapeError

__all__ = ["bits_per_dim"]


def bits_per_dim(log_prob: Tensor, event_shape: Sequence[int]) -> Tensor:
    r"""Negative log-probabilities in bits for each entry of an image: nats / (D ln 2).

    For figures that compare with published ones, ``log_prob`` is that of integer levels, such as
    :meth:`DequantizedFlow.log_prob_bound <pyro_dgm.models.DequantizedFlow.log_prob_bound>` gives: eight bits
    for images of 256 levels that are all alike. A density of dequantised values in [0, 1] lacks the
    :math:`D \log L` of ``L`` levels and comes out :math:`\log_2 L` bits too low.

    Args:
        log_prob: Log-probabilities of images, in nats, of any shape.
        event_shape: Shape of one image.

    Returns:
        Bits per dimension, of the shape of ``log_prob``.

    Raises:
        ShapeError: If an image has no entries.

    Example:
        >>> import torch
        >>> bits_per_dim(torch.tensor(-784 * math.log(256)), (1, 28, 28))
        tensor(8.)
    """
    entries = math.prod(event_shape)
    if entries < 1:
        raise ShapeError(f"an image needs at least one entry, but event_shape is {tuple(event_shape)}.")
    return log_prob / (-entries * math.log(2))
