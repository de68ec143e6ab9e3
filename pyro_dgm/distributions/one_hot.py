"""Class labels as vectors with a single one."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from pyro_dgm.errors import ArgumentTypeError, DataError, ShapeError

__all__ = ["check_one_hot"]


def check_one_hot(what: str, labels: Any, num_classes: int | None = None, *, each: bool = True) -> None:
    """Raise unless ``labels`` are classes as one-hot vectors.

    Args:
        what: Who reads them, for the message.
        labels: A tensor of shape ``(*batch, num_classes)``.
        num_classes: How many classes there are; any number by default.
        each: Whether every row must have a label of its own; otherwise one of shape ``(num_classes,)`` does.

    Raises:
        ArgumentTypeError: If it is no tensor.
        ShapeError: If the last dimension is not that of the classes.
        DataError: If a vector has not a single one, and zeros elsewhere.

    Example:
        >>> import torch
        >>> check_one_hot("this model", torch.eye(3)[[2, 0]], 3)
    """
    if not isinstance(labels, Tensor):
        raise ArgumentTypeError(
            f"{what} reads classes as a one-hot tensor (n, classes), but got {type(labels).__name__}."
        )
    advice = "Say torch.nn.functional.one_hot(numbers, num_classes).float()."
    if labels.dim() < 1 + each or num_classes not in (None, labels.shape[-1]):
        width = "classes" if num_classes is None else num_classes
        raise ShapeError(
            f"{what} reads classes as one-hot vectors (n, {width}), but got shape {tuple(labels.shape)}. "
            f"{advice}"
        )
    if not bool(((labels == 0) | (labels == 1)).all() and (labels.sum(-1) == 1).all()):
        raise DataError(
            f"{what} reads classes as one-hot vectors, a single 1 and zeros elsewhere, but some are not: "
            f"{labels.reshape(-1, labels.shape[-1])[:1].tolist()[0]}, .... {advice}"
        )
