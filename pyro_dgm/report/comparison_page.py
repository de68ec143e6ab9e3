"""The page of a comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

import pyro_dgm
from pyro_dgm.report.measurement import Measurement, side_by_side
from pyro_dgm.report.page import Part, Pictures, Report, Section, Table, Text

if TYPE_CHECKING:
    from pyro_dgm.report.comparison import Comparison

__all__ = ["comparison_page"]

_READING = (
    "Likelihoods stand in one row only if they are the same quantity: an exact density, a bound by one draw "
    "and a bound by many are three. A dash says that a model has no such quantity: a GAN has no likelihood.",
    "Less is better of distances (energy, sliced-w1, mmd, kernel, Fréchet). c2st is the share of rows that a "
    "classifier sorts right into real and drawn: 0.5 is best. Precision is the share of draws near real "
    "rows, recall and coverage are shares of real rows with draws near them: more is better. Density counts "
    "real rows around draws: 1 for real ones, above it where draws crowd where the data are dense.",
    "Every distance of samples stands beside what real rows score against real rows at the same sample size. "
    "A number inside that range cannot be told from the data by this metric; another metric may tell it.",
    "Metrics disagree: which model wins depends on the metric. Pixel distances are dominated by contrast and "
    "punish blur; balls around neighbours say little in high dimension; a classifier that finds nothing "
    "proves nothing.",
    "A loss of training is in units of its own objective and is compared with nothing. Times depend on the "
    "machine.",
)


def comparison_page(found: Comparison) -> Report:
    """Return the page: numbers, sanity, reading, pictures."""
    tables: list[Part] = [Text([_counted(found)])]
    for title, rows in (
        ("Likelihood: a row is one quantity", found.likelihoods),
        ("Samples, and latents", found.samples),
        ("Costs", found.costs),
    ):
        tables += [_table(title, found.data, rows)] if rows else []
    sanity: list[Part] = [Text(sanity_lines(found))]
    sanity += [_table("Checks of each model by itself", found.data, found.sanity)] if found.sanity else []
    return Report(
        f"Models of {found.data}, compared",
        "The same test rows, the same sample sizes, each number with its uncertainty and its floor.",
        [
            Section("Numbers", tables),
            Section("Sanity", sanity),
            Section("What can be compared", [Text(_READING, bullets=True)]),
            Section("Pictures", [Pictures(found.pictures)]),
        ],
        footer=f"Made by pyro_dgm {pyro_dgm.__version__} with torch {torch.__version__}.",
    )


def sanity_lines(found: Comparison) -> list[str]:
    """What is wrong, number by number, after a line that says how much is right."""
    judged = [m for m in found.measurements if m.holds is not None]
    lines = [f"{len(judged) - len(found.violations)} of {len(judged)} numbers with a limit keep it."]
    lines += [f"{m.quantity} of {m.model} is {m.text}, but should be: {m.limit}." for m in found.violations]
    return lines + [f"{name} could not be measured: {why}" for name, why in found.failed.items()]


def _counted(found: Comparison) -> str:
    number = len(found.names)
    return f"{number - len(found.failed)} of {number} models could be measured; {len(found.failed)} failed."


def _table(title: str, data: str, rows: list[Measurement]) -> Table:
    order = list(dict.fromkeys(m.quantity for m in rows))
    return side_by_side(f"{title}: {data}", sorted(rows, key=lambda m: order.index(m.quantity)))
