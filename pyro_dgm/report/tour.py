"""The tour: five models of three families, trained on real input and compared on one page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from pyro_dgm import data as data_sets
from pyro_dgm import recipes
from pyro_dgm.data import Target2D
from pyro_dgm.errors import SolverFailed, TrainingDiverged
from pyro_dgm.recipes import Trial
from pyro_dgm.report.cost_rows import cost_rows
from pyro_dgm.report.findings import Findings
from pyro_dgm.report.flow_findings import flow_findings
from pyro_dgm.report.gan_findings import gan_findings
from pyro_dgm.report.html import write_html
from pyro_dgm.report.measurement import to_csv
from pyro_dgm.report.tour_page import tour_page
from pyro_dgm.report.tour_result import NUMBERS, PAGE, STOPS, Stop, TourResult, tour_folder
from pyro_dgm.report.vae_findings import vae_findings
from pyro_dgm.training.atomic import write_atomically

__all__ = ["measure", "tour"]


def tour(
    out: str | Path = "runs/tour",
    *,
    quick: bool = False,
    seed: int = 0,
    stops: Sequence[Stop] = STOPS,
    say: Callable[[str], None] = print,
    progress: bool = True,
) -> TourResult:
    """Train every model of the tour through the public calls, measure it, and write page, numbers and runs.

    Ctrl-C ends the tour: the model that was training is saved as it is, and the page is written of those
    that were finished.

    Args:
        out: Folder for ``report.html``, ``results.csv`` and one saved run a model.
        quick: Train for moments only: the same code, with numbers that mean little.
        seed: Seed of weights and training.
        stops: The models to visit.
        say: What to tell the user with, line by line.
        progress: Whether to show progress bars.

    Returns:
        All models and numbers, and whether the tour was interrupted.

    Raises:
        OutputError: If the folder cannot be written to, or holds something else.
    """
    result = TourResult(tour_folder(out), seed, quick)
    with one_thread():
        try:
            for number, stop in enumerate(stops, start=1):
                say(
                    f"[{number}/{len(stops)}] {stop.recipe} on {stop.data}: "
                    f"{recipes.get(stop.recipe).summary}"
                )
                _visit(result, stop, say, progress)
                if result.interrupted:
                    break
        except KeyboardInterrupt:
            result.interrupted = True
        if result.visited:
            write_atomically(result.folder / NUMBERS, to_csv(result.measurements).encode())
            write_html(tour_page(result), result.folder / PAGE)
    return result


def measure(trial: Trial, *, quick: bool = False) -> Findings:
    """Measure and draw a trained model according to what it can give."""
    can = trial.model.capabilities
    if can.has_log_prob and isinstance(trial.data, Target2D):
        found = flow_findings(trial, num_data=2000 if quick else 20_000)
    elif can.has_bound:
        found = vae_findings(trial, num_particles=20 if quick else 500)
    else:
        found = gan_findings(trial)
    return Findings([*found.measurements, *cost_rows(trial)], found.pictures, found.tables)


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread, which is quickest for networks of this size; as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _visit(result: TourResult, stop: Stop, say: Callable[[str], None], progress: bool) -> None:
    recipe = recipes.get(stop.recipe)
    options = recipe.options_of_data(stop.data)
    settings: dict[str, Any] = {"steps": stop.quick_steps} if result.quick else {}
    source = {"name": stop.data, "options": options}
    try:
        trial = recipes.train(
            recipe,
            data_sets.load(stop.data, **options),
            seed=result.seed,
            progress=progress,
            source=source,
            **settings,
        )
    except (TrainingDiverged, SolverFailed) as error:
        result.failed[stop.recipe] = str(error)
        say(f"      failed: {error}")
        return
    folder = trial.save(result.folder / stop.recipe)
    if trial.history.stopped == "interrupted":
        result.interrupted = True
        say(f"      {trial.name} interrupted after {trial.history.num_steps} updates; saved in {folder}")
        return
    findings = measure(trial, quick=result.quick)
    result.visited.append((trial, findings))
    first = findings.measurements[0]
    say(f"      {first.quantity} {first.text} {first.unit}".rstrip() + f", {first.limit}; saved in {folder}")
