"""What a trial has shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pyro_dgm.report.measurement import Measurement
from pyro_dgm.report.page import Picture, Table

__all__ = ["Findings"]


@dataclass(frozen=True)
class Findings:
    """Numbers, pictures and tables of one trained model.

    Attributes:
        measurements: Its numbers.
        pictures: Its pictures.
        tables: Tables of its own.
    """

    measurements: Sequence[Measurement]
    pictures: Sequence[Picture]
    tables: Sequence[Table] = field(default=())
