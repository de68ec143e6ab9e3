"""A number that says what it is, and tables of such numbers."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from pyro_dgm.report.page import Table

__all__ = ["Measurement", "side_by_side", "to_csv"]

MISSING = "–"


@dataclass(frozen=True)
class Measurement:
    """One number of one model, with unit, uncertainty, floor or limit, and origin.

    Attributes:
        model: Whose number it is.
        data: On which data.
        quantity: What was measured.
        value: The number.
        unit: Its unit; empty for a plain number.
        limit: What it is to be read against, in words: its floor, its limit or its budget.
        source: How it was measured.
        error: Its standard error, if it has one.
        low: Lower end of its interval, if it has one.
        high: Upper end of its interval.
        holds: Whether it keeps its limit; None where the limit only orients.
    """

    model: str
    data: str
    quantity: str
    value: float
    unit: str
    limit: str
    source: str
    error: float | None = None
    low: float | None = None
    high: float | None = None
    holds: bool | None = None

    @property
    def text(self) -> str:
        """The value with its uncertainty.

        Example:
            >>> Measurement("m", "d", "J_ML", 0.30114, "nats", "", "", error=0.0066).text
            '0.3011 ± 0.0066'
        """
        if self.error is not None:
            digits = _digits(self.error)
            return f"{self.value:.{digits}f} ± {self.error:.{digits}f}"
        if self.low is not None and self.high is not None:
            digits = _digits((self.high - self.low) / 2)
            return f"{self.value:.{digits}f} [{self.low:.{digits}f}, {self.high:.{digits}f}]"
        return _short(self.value)


def side_by_side(title: str, measurements: Iterable[Measurement], notes: Sequence[str] = ()) -> Table:
    """Return a table with one row a quantity and one column a model, beside the limit.

    Numbers of several models share a row only if they share quantity, unit and data: what cannot be compared
    never stands side by side. A dash says that a model has no such quantity.

    Example:
        >>> one = Measurement("a", "moons", "mass", 1.0, "", "1 ± 0.001", "grid")
        >>> side_by_side("T", [one]).rows
        [['mass', '1 ± 0.001', '1']]
    """
    measurements = list(measurements)
    models = list(dict.fromkeys(m.model for m in measurements))
    rows: dict[tuple[str, str, str], list[Measurement]] = {}
    for m in measurements:
        rows.setdefault((m.quantity, m.unit, m.data), []).append(m)
    table = []
    for (quantity, unit, _), found in rows.items():
        cells = {m.model: m.text for m in found}
        name = f"{quantity}, {unit}" if unit else quantity
        table.append([name, _limits(found), *(cells.get(model, MISSING) for model in models)])
    return Table(title, ["quantity", "floor or limit", *models], table, [*_sources(measurements), *notes])


def _sources(measurements: Iterable[Measurement]) -> list[str]:
    """Where the numbers come from, each origin once, with the models where it differs among them."""
    found: dict[str, dict[str, list[str]]] = {}
    for m in measurements:
        if m.source:
            found.setdefault(m.quantity, {}).setdefault(m.source, []).append(m.model)
    whose: dict[str, list[str]] = {}
    for quantity, sources in found.items():
        for source, models in sources.items():
            name = f"{quantity} ({', '.join(models)})" if len(sources) > 1 else quantity
            whose.setdefault(source, []).append(name)
    return [f"{'; '.join(names)}: {source}." for source, names in whose.items()]


def to_csv(measurements: Iterable[Measurement]) -> str:
    """Return measurements as comma-separated values, one a line, for other programs."""
    file = io.StringIO()
    writer = csv.DictWriter(file, list(Measurement.__dataclass_fields__), lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(m) for m in measurements)
    return file.getvalue()


def _limits(found: Sequence[Measurement]) -> str:
    """The limit of a row; each model's own where they differ."""
    limits = {m.limit for m in found}
    if limits == {""}:
        return "none known"
    return limits.pop() if len(limits) == 1 else "; ".join(f"{m.limit} ({m.model})" for m in found)


def _digits(error: float) -> int:
    """Decimals that show two digits of an uncertainty."""
    return max(0, 1 - math.floor(math.log10(error))) if 0 < error < math.inf else 4


def _short(value: float) -> str:
    if float(value).is_integer() and abs(value) < 1e9:
        return f"{int(value):,}".replace(",", " ")
    return f"{value:.3g}"
