"""A figure with its uncertainty and its reference."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Estimate"]


@dataclass(frozen=True)
class Estimate:
    """An estimate of how far two samples are apart.

    Formatting takes the usual codes: ``f"{estimate:.3f}"``.

    Attributes:
        value: The estimate.
        standard_error: Its standard error.
        low: Lower end of its interval.
        high: Upper end of its interval.
        num_a: Rows of the first sample.
        num_b: Rows of the second sample.
        level: What the interval promises to cover.
        floor: What two samples of the same distribution score, or None if it was not asked for.

    Example:
        >>> print(Estimate(0.0412, 0.002, 0.0373, 0.0451, 500, 400))
        0.04120 [0.03730, 0.04510] (500 against 400 rows, 95% interval)
    """

    value: float
    standard_error: float
    low: float
    high: float
    num_a: int
    num_b: int
    level: float = 0.95
    floor: Estimate | None = None

    def __format__(self, code: str) -> str:
        code = code or ".5f"
        text = (
            f"{self.value:{code}} [{self.low:{code}}, {self.high:{code}}] "
            f"({self.num_a} against {self.num_b} rows, {self.level:.0%} interval)"
        )
        return text if self.floor is None else f"{text}, floor {self.floor:{code}}"

    def __str__(self) -> str:
        return format(self)
