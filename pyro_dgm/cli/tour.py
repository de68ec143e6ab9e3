"""``pyro-dgm tour``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pyro_dgm.report import plain, to_text
from pyro_dgm.report.tour import tour
from pyro_dgm.report.tour_page import sanity_lines, tour_tables
from pyro_dgm.report.tour_result import NUMBERS, PAGE

__all__ = ["run_tour"]


def run_tour(out: Path, *, quick: bool, seed: int) -> int:
    """Take the tour and print its numbers; return the exit code."""
    print(f"Training five models, seed {seed}; results go to {out}. Ctrl-C stops and keeps what is finished.")
    result = tour(out, quick=quick, seed=seed, say=lambda line: print(plain(line), flush=True))
    for table in tour_tables(result):
        print(f"\n{to_text(replace(table, notes=()))}")  # how each was measured stands on the page
    print("\n" + "\n".join(plain(line) for line in sanity_lines(result)))
    if result.visited:
        print(f"\npage:    {out / PAGE}\nnumbers: {out / NUMBERS}")
    if result.interrupted:
        names = ", ".join(trial.name for trial, _ in result.visited) or "no model"
        print(f"stopped by Ctrl-C: the page shows {names}.")
        return 130
    return 1 if result.failed else 0
