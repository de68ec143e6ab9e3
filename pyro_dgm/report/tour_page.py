"""The page of the tour."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

import pyro_dgm
from pyro_dgm.recipes import Trial
from pyro_dgm.report.cost_rows import COST
from pyro_dgm.report.findings import Findings
from pyro_dgm.report.measurement import Measurement, side_by_side
from pyro_dgm.report.page import Link, Part, Pictures, Report, Section, Table, Text
from pyro_dgm.report.tour_result import TourResult

__all__ = ["sanity_lines", "tour_page", "tour_tables"]

_READING = (
    "J_ML is an exact negative log-likelihood per point of the plane, in nats; no model can be below the "
    "entropy H(X) of the data, and the distance from it is KL(truth, model). It compares the two flows "
    "with each other and with nothing else on this page.",
    "-ELBO and -IWAE bound the negative log-likelihood of a binary image from above. They depend on how "
    "the images were made binary, and a density of points and a probability of binary images have no "
    "common scale: the two never stand in one column.",
    "A GAN has no likelihood. Its samples are compared with test images by the energy distance, which is "
    "zero in expectation for a perfect generator; a number inside the range of the floor cannot be told "
    "from real data by this metric.",
    "The energy distance works on pixels: it is dominated by contrast and spread and punishes blur. Grey "
    "and binary images give different scales, so that of the VAE is compared with its own floor, on its "
    "own data, only.",
    "The losses of a game say who is ahead, not how good samples are. CPU seconds depend on the machine, "
    "and every number is that of one seed.",
)

_LINKS = (
    Link(
        "Ruthotto and Haber, An introduction to deep generative modeling, 2021",
        "https://arxiv.org/abs/2103.05180",
    ),
    Link(
        "Dinh, Sohl-Dickstein and Bengio, Density estimation using Real NVP, 2017",
        "https://arxiv.org/abs/1605.08803",
    ),
    Link("Onken, Wu Fung, Li and Ruthotto, OT-Flow, 2021", "https://arxiv.org/abs/2006.00104"),
    Link("Kingma and Welling, Auto-Encoding Variational Bayes, 2014", "https://arxiv.org/abs/1312.6114"),
    Link(
        "Burda, Grosse and Salakhutdinov, Importance Weighted Autoencoders, 2016",
        "https://arxiv.org/abs/1509.00519",
    ),
    Link(
        "Radford, Metz and Chintala, Unsupervised representation learning with DCGANs, 2016",
        "https://arxiv.org/abs/1511.06434",
    ),
    Link("Gulrajani et al., Improved Training of Wasserstein GANs, 2017", "https://arxiv.org/abs/1704.00028"),
    Link("Székely and Rizzo, Energy statistics, 2013", "https://doi.org/10.1016/j.jspi.2013.03.018"),
)


def tour_tables(result: TourResult) -> list[Table]:
    """The numbers of the tour, one table a kind: no column mixes what has no common scale."""
    flows = _numbers(result, lambda trial: trial.model.capabilities.has_log_prob)
    bounds = _numbers(
        result, lambda t: t.model.capabilities.has_bound and not t.model.capabilities.has_log_prob
    )
    games = _numbers(result, lambda trial: not trial.model.capabilities.has_bound)
    costs = [replace(m, data="") for m in result.measurements if m.quantity in COST]
    titles = (
        ("Exact densities", flows),
        ("A bound of the likelihood, and samples", bounds),
        ("Samples alone", games),
    )
    tables = [side_by_side(f"{title}: {found[0].data}", found) for title, found in titles if found]
    return [*tables, side_by_side("Costs, on one thread", costs)] if costs else tables


def _numbers(result: TourResult, kind: Callable[[Trial], bool]) -> list[Measurement]:
    chosen = [findings for trial, findings in result.visited if kind(trial)]
    # Quantity by quantity rather than model by model, so that each row of the table fills up.
    numbers = [m for findings in chosen for m in findings.measurements if m.quantity not in COST]
    order = list(dict.fromkeys(m.quantity for m in numbers))
    return sorted(numbers, key=lambda m: order.index(m.quantity))


def tour_page(result: TourResult) -> Report:
    """Return the page: numbers first, then a reading, then the pictures."""
    sections = [
        Section("Numbers", [Text([_how_to_read(result)]), *tour_tables(result)]),
        Section("Sanity", [Text(sanity_lines(result))]),
        Section("What can be compared", [Text(_READING, bullets=True)]),
        *(_of_model(trial, findings) for trial, findings in result.visited),
    ]
    return Report(
        "A tour of deep generative models",
        "Two flows, a variational autoencoder and two adversarial models, each a Pyro program, trained on "
        "real input by one command and set side by side, each number with its floor.",
        sections,
        _LINKS,
        _footer(result),
    )


def sanity_lines(result: TourResult) -> list[str]:
    """What is wrong, number by number, after a line that says how much is right."""
    judged = [m for m in result.measurements if m.holds is not None]
    lines = [f"{len(judged) - len(result.violations)} of {len(judged)} numbers with a limit keep it."]
    lines += [f"{m.quantity} of {m.model} is {m.text}, but should be: {m.limit}." for m in result.violations]
    lines += [
        f"{trial.name} ended before its {trial.recipe.training['steps']} updates: {trial.history.stopped}."
        for trial, _ in result.visited
        if trial.history.stopped != "done"
    ]
    lines += [f"{name} could not be trained: {why}" for name, why in result.failed.items()]
    if result.interrupted:
        lines.append("The tour was interrupted: models that were not finished are missing.")
    return lines


def _how_to_read(result: TourResult) -> str:
    warning = "These models were trained for moments only: the numbers mean little. " if result.quick else ""
    return (
        warning + "Each kind of number has a table of its own, with the floor or limit beside each number. "
        "Notes below each table say how it was measured."
    )


def _of_model(trial: Trial, findings: Findings) -> Section:
    summary = Text([f"{trial.recipe.summary[0].upper()}{trial.recipe.summary[1:]}."])
    parts: list[Part] = [summary, Pictures(findings.pictures), *findings.tables]
    return Section(f"{trial.name} on {trial.data.name}", parts)


def _footer(result: TourResult) -> str:
    import pyro

    seconds = sum(trial.history.cpu_seconds for trial, _ in result.visited)
    return (
        f"Made by pyro-dgm tour{' --quick' if result.quick else ''} --seed {result.seed} with pyro_dgm "
        f"{pyro_dgm.__version__}, Pyro {pyro.__version__} and torch {torch.__version__}; {seconds:.0f} CPU "
        "seconds of training."
    )
