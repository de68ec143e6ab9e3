"""Models of any family, trained on the same data, side by side on one page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from pyro_dgm import plotting
from pyro_dgm.data import ImageData, RowData, Target2D
from pyro_dgm.errors import DataError, PyroDGMError
from pyro_dgm.models import GenerativeModel
from pyro_dgm.recipes import Run, Trial
from pyro_dgm.report.comparison_page import comparison_page
from pyro_dgm.report.comparison_rows import Yardstick, cost_of, latent_rows, model_likelihood, sample_rows
from pyro_dgm.report.html import write_html
from pyro_dgm.report.measurement import Measurement, to_csv
from pyro_dgm.report.page import Picture, Report
from pyro_dgm.report.sanity import sanity_rows
from pyro_dgm.training import History, check_writable
from pyro_dgm.training.atomic import write_atomically

__all__ = ["Comparison", "compare"]


@dataclass
class Comparison:
    """What a comparison has found.

    Attributes:
        data: Name of the data.
        likelihoods: Exact likelihoods and bounds; a quantity is a row of its own.
        samples: Distances of samples from test rows, and of latents from the prior.
        costs: What models cost.
        sanity: Whether each model computes what it says.
        pictures: Samples and training curves.
        failed: Why a model could not be measured, by its name.
        names: All models, also those that failed.
    """

    data: str
    likelihoods: list[Measurement] = field(default_factory=list)
    samples: list[Measurement] = field(default_factory=list)
    costs: list[Measurement] = field(default_factory=list)
    sanity: list[Measurement] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)

    @property
    def measurements(self) -> list[Measurement]:
        """All numbers."""
        return [*self.likelihoods, *self.samples, *self.costs, *self.sanity]

    @property
    def violations(self) -> list[Measurement]:
        """The numbers that do not keep their limit."""
        return [m for m in self.measurements if m.holds is False]

    @property
    def page(self) -> Report:
        """The page."""
        return comparison_page(self)

    def write(self, folder: str | Path) -> Path:
        """Write ``comparison.html`` and ``comparison.csv`` into a folder; return the page.

        Raises:
            OutputError: If it cannot be written to.
        """
        path = check_writable(Path(folder))
        write_atomically(path / "comparison.csv", to_csv(self.measurements).encode())
        return write_html(self.page, path / "comparison.html")


def compare(
    models: Mapping[str, GenerativeModel | Run | Exception],
    data: Target2D | ImageData | RowData,
    *,
    num: int = 1000,
    num_particles: int = 100,
    seed: int = 0,
) -> Comparison:
    """Measure models of any family on the same test rows.

    Args:
        models: Trained models by name: models, runs or trials, of which a trial brings its history and its
            game. An exception stands for a run that failed: it is counted and named.
        data: What they were trained on: a target in the plane, images, or rows of your own as
            :class:`~pyro_dgm.data.RowData`.
        num: Number of samples of each model and of test rows; at most half of the test images.
        num_particles: Number of importance samples of bounds.
        seed: Seed of all draws.

    Returns:
        Everything that was found; ``write(folder)`` makes the page.

    Raises:
        DataError: If there is no model, or ``num`` is below 50.

    Example:
        >>> from pyro_dgm import recipes
        >>> from pyro_dgm.data import two_moons
        >>> trial = recipes.train(recipes.get("real-nvp"), two_moons(), steps=2, progress=False)
        >>> found = compare({"two steps": trial}, two_moons(), num=100)
        >>> found.likelihoods[0].quantity, found.failed
        ('J_ML', {})
    """
    if not models or num < 50:
        raise DataError(f"compare needs at least one model and num of at least 50, got {len(models)}, {num}.")
    result = Comparison(data.name, names=list(models))
    rule = Yardstick.of(data, num, seed)
    result.pictures += _pictures(rule.test, "test rows", f"Test rows of {data.name}")
    for name, entry in models.items():
        if isinstance(entry, Exception):
            result.failed[name] = f"{type(entry).__name__}: {entry}"
            continue
        try:
            _measure(result, rule, name, entry, num_particles, seed)
        except PyroDGMError as error:
            result.failed[name] = f"{type(error).__name__}: {error}"
    return result


def _measure(
    result: Comparison, rule: Yardstick, name: str, entry: GenerativeModel | Run, particles: int, seed: int
) -> None:
    model = entry.model if isinstance(entry, Run) else entry
    objective: Any = entry.objective if isinstance(entry, Trial) else None
    samples = model.sample(len(rule.test), seed=seed + 1)
    if not samples.isfinite().all():
        raise DataError(f"{int((~samples.isfinite()).flatten(1).any(1).sum())} samples are not finite.")
    # All is measured before anything is kept: a model that fails half-way leaves no row behind.
    samples_found = sample_rows(name, rule, samples, seed)
    found = (
        model_likelihood(name, rule, model, particles, seed),
        [*samples_found, *latent_rows(name, rule, model, seed)],
        cost_of(name, rule, model),
        sanity_rows(name, rule.data, model, rule.test, objective, seed=seed),
    )
    lists = (result.likelihoods, result.samples, result.costs, result.sanity)
    for target, rows in zip(lists, found, strict=True):
        target += rows
    result.pictures += _pictures(samples, name, f"Samples, not chosen, of {name}")
    if isinstance(entry, Trial):
        result.costs += _training_costs(name, rule.data.name, entry.history)
        result.pictures.append(_curve(name, entry.history))


def _training_costs(name: str, data: str, history: History) -> list[Measurement]:
    known = (("updates", float(history.num_steps), ""), ("training time", history.cpu_seconds, "CPU s"))
    return [Measurement(name, data, what, value, unit, "none: a cost", "") for what, value, unit in known]


def _pictures(x: torch.Tensor, title: str, caption: str) -> list[Picture]:
    if x.dim() == 4:
        return [Picture.of(plotting.image_grid(x[:64], title=title), f"{caption}.")]
    plane = x.flatten(1)[:, :2]
    if plane.shape[1] < 2:
        return []
    return [Picture.of(plotting.samples(plane, title=title), f"{caption}; the first two entries.")]


def _curve(name: str, history: History) -> Picture:
    columns = [c for c in history.columns if c in ("loss", "critic", "generator")]
    series: dict[str, Any] = {column: history[column].tolist() for column in columns}
    curve = plotting.training_curve(series, title=f"{name}: training", ylabel="loss of its own objective")
    return Picture.of(curve, f"Training of {name}, in units of its own objective: comparable with no other.")
