"""Does the generator's range hold the data?"""

from __future__ import annotations

import warnings

from torch import Tensor, nn

from pyro_dgm.errors import DataError

__all__ = ["check_range"]


def check_range(model: nn.Module, x: Tensor) -> None:
    """Compare the range of a generator that has one, its ``output_range``, with rows of data.

    Raises:
        DataError: If the data leave the range: the critic would tell them apart by that alone.
    """
    bounds = getattr(model, "output_range", None)
    if bounds is None or not x.numel():
        return
    low, high = bounds
    smallest, largest = float(x.min()), float(x.max())
    slack = 1e-3 * (high - low)
    if smallest < low - slack or largest > high + slack:
        raise DataError(
            f"the generator's last layer gives values in [{low:g}, {high:g}], but the data lie in "
            f"[{smallest:g}, {largest:g}]. Scale the data to its range, or give it another output: "
            "'sigmoid' for [0, 1], 'tanh' for [-1, 1], 'logits' for any value."
        )
    if low < 0 <= smallest:
        warnings.warn(
            f"the generator's last layer gives values in [{low:g}, {high:g}], but the data lie in "
            f"[{smallest:g}, {largest:g}]: half of its range is unused. Use "
            "output='sigmoid', or scale the data to [-1, 1].",
            UserWarning,
            stacklevel=4,
        )
