"""Images of integer levels, such as 8-bit pixels, and their dequantisation."""

from __future__ import annotations

import torch
from torch import Tensor

from pyro_dgm.errors import DataError

__all__ = ["check_levels", "dequantize", "level_histogram", "quantize", "to_levels"]


def to_levels(images: Tensor, num_levels: int = 256) -> Tensor:
    """Turn grey levels in [0, 1] back into the integers they were stored as.

    Args:
        images: Grey levels ``k / (num_levels - 1)``, of any shape.
        num_levels: Number of levels; 256 for 8-bit images.

    Returns:
        The integers ``k``, in the dtype of ``images``.

    Raises:
        DataError: If a value is not one of the levels.

    Example:
        >>> to_levels(torch.tensor([0.0, 0.2, 1.0]))
        tensor([  0.,  51., 255.])
    """
    scaled = images * (num_levels - 1)
    levels = scaled.round()
    if not ((scaled - levels).abs() < 1e-3).all() or not _within(levels, num_levels):
        raise DataError(
            f"to_levels needs images stored with {num_levels} levels and scaled to [0, 1], but values lie in "
            f"{_range(images)} and are not all multiples of 1/{num_levels - 1}. Pass the num_levels that "
            "they were stored with; images that were resized or blurred have none."
        )
    return levels


def check_levels(x: Tensor, num_levels: int = 256) -> None:
    """Raise :class:`~pyro_dgm.errors.DataError` unless ``x`` holds integers from 0 to ``num_levels - 1``."""
    whole = not x.is_floating_point() or bool((x == x.round()).all())
    if whole and _within(x, num_levels):
        return
    hint = "pass to_levels(images)" if not whole and _within(x, 2) else "round or clip them first"
    raise DataError(
        f"x must hold the integer levels 0 to {num_levels - 1} of quantised images, but its values lie in "
        f"{_range(x)}{'' if whole else ' and are not whole'}: {hint}."
    )


def dequantize(x: Tensor, num_levels: int = 256, *, generator: torch.Generator | None = None) -> Tensor:
    r"""Spread each level uniformly over its interval: :math:`(x + u) / L` with :math:`u` uniform on [0, 1).

    A density of the result bounds the probability of the levels: by Jensen's inequality the mean of
    :math:`\log p((x + u) / L) - D \log L` over :math:`u` is at most :math:`\log P(x)`.

    Args:
        x: Integer levels, of any shape.
        num_levels: Number of levels ``L``.
        generator: Source of the random numbers; the global state by default.

    Returns:
        Values in [0, 1), in the dtype of ``x``, or the default one if ``x`` has integers.

    Raises:
        DataError: If ``x`` is not of levels.

    Reference:
        Theis, van den Oord and Bethge, A note on the evaluation of generative models, ICLR 2016, section 3.1.
        https://arxiv.org/abs/1511.01844

    Example:
        >>> quantize(dequantize(torch.tensor([0, 7, 255])))
        tensor([  0,   7, 255])
    """
    check_levels(x, num_levels)
    x = x if x.is_floating_point() else x.to(torch.get_default_dtype())
    return at_level(x, torch.rand(x.shape, dtype=x.dtype, device=x.device, generator=generator), num_levels)


def quantize(values: Tensor, num_levels: int = 256) -> Tensor:
    """The levels of values in [0, 1], as int64; values beyond count to the lowest or highest level."""
    return (values * num_levels).floor().clamp(0, num_levels - 1).long()


def level_histogram(x: Tensor, num_levels: int = 256) -> Tensor:
    """How often each level occurs in ``x``: int64 counts of shape ``(num_levels,)``.

    Raises:
        DataError: If ``x`` is not of levels.
    """
    check_levels(x, num_levels)
    return torch.bincount(x.flatten().long(), minlength=num_levels)


def at_level(x: Tensor, u: Tensor, num_levels: int) -> Tensor:
    """The values ``(x + u) / num_levels``, kept from the next level, which rounding would reach."""
    return (x + u.clamp(max=1 - torch.finfo(u.dtype).eps * num_levels)) / num_levels


def _within(x: Tensor, num_levels: int) -> bool:
    return bool(((x >= 0) & (x <= num_levels - 1)).all())


def _range(x: Tensor) -> str:
    return f"[{x.min().item():g}, {x.max().item():g}]" if x.numel() else "an empty tensor"
