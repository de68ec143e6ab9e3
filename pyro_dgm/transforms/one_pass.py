"""A bijection whose value and log-determinant, asked for one after the other, cost one pass."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from pyro_dgm.transforms.bijection import Bijection

__all__ = ["OnePass"]


class OnePass(Bijection):
    """Another bijection, for code that calls ``t(x)`` and then ``t.log_abs_det_jacobian(x, y)``.

    The log-determinant of the last call is kept until it is asked for, once, with the very same two tensors.
    Made for short lives: parameters must not change between the two calls.

    Args:
        part: The bijection.
    """

    def __init__(self, part: Bijection) -> None:
        super().__init__()
        self.part = part
        self._kept: tuple[Tensor, Tensor, Tensor] | None = None

    @property
    def domain(self) -> Any:  # type: ignore[override]
        """The domain of the part."""
        return self.part.domain

    @property
    def codomain(self) -> Any:  # type: ignore[override]
        """The codomain of the part."""
        return self.part.codomain

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Apply the part."""
        return self.part.call_and_ladj(x)

    def inverse_and_ladj(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Undo the part."""
        return self.part.inverse_and_ladj(y)

    def _call(self, x: Tensor) -> Tensor:
        y, ladj = self.part.call_and_ladj(x)
        self._kept = (x, y, ladj)
        return y

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """The log-determinant at ``x``, in nats: from the call that gave ``y``, if that was the last one."""
        kept, self._kept = self._kept, None
        if kept is not None and kept[0] is x and kept[1] is y:
            return kept[2]
        return self.part.log_abs_det_jacobian(x, y)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": None}
