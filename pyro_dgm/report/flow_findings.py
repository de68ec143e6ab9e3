"""What is measured and shown of a trained flow on a target of known density."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from pyro_dgm import plotting
from pyro_dgm.data import Target2D
from pyro_dgm.diagnostics import AuditReport, StepCountWarning, audit
from pyro_dgm.models import NormalizingFlow
from pyro_dgm.recipes import Trial
from pyro_dgm.report.findings import Findings
from pyro_dgm.report.flow_rows import audited_rows, likelihood_rows, straightness_row, way_of
from pyro_dgm.report.page import Picture, Table
from pyro_dgm.transforms import ContinuousTransform

__all__ = ["flow_findings"]


def flow_findings(trial: Trial, *, num_data: int = 20_000, seed: int = 1) -> Findings:
    """Measure a flow on fresh points, audit it, and draw it.

    Args:
        trial: The trained flow.
        num_data: Number of fresh points.
        seed: Seed of the points, other than that of training.
    """
    target, model, name = trial.data, trial.model, trial.name
    assert isinstance(target, Target2D)
    assert isinstance(model, NormalizingFlow)
    x = target.sample(num_data, seed=seed)
    with warnings.catch_warnings():  # the page says in words that the curve of training flatters
        warnings.simplefilter("ignore", StepCountWarning)
        report = audit(model, x, entropy=target.entropy, seed=seed)
    rows = [
        *likelihood_rows(name, target, model, x),
        *audited_rows(name, target, report),
        *straightness_row(name, target, model, seed),
    ]
    return Findings(rows, _pictures(trial, target, model, x), [_audit_table(name, report)])


def _audit_table(name: str, report: AuditReport) -> Table:
    rows = [[c.title, c.figure_text, c.limit, c.verdict, c.note] for c in report.checks]
    return Table(f"Audit of {name}: {report.sentence}", ["check", "figure", "limit", "verdict", "how"], rows)


def _pictures(trial: Trial, target: Target2D, model: NormalizingFlow, x: Tensor) -> list[Picture]:
    name, window = trial.name, target.window
    peak = plotting.density_grid(target, window).max().item()
    history = {"J_ML": trial.history["J_ML"].tolist()}
    return [
        Picture.of(
            plotting.density(target, window, peak=peak, title="exact density"),
            f"Exact density of {target.name}, of entropy {target.entropy:.4f} nats.",
        ),
        Picture.of(
            plotting.density(model, window, peak=peak, title=f"{name}: density"),
            f"Density of {name}, with the colours of the exact one. Not a log-density, and not rescaled.",
        ),
        Picture.of(
            plotting.samples(x[:2000], window, title="data"), f"{min(2000, len(x))} points of {target.name}."
        ),
        Picture.of(
            plotting.samples(model.sample(2000, seed=0), window, title=f"{name}: samples"),
            f"2000 samples of {name}.",
        ),
        Picture.of(
            plotting.latent_image(model, x, title=f"{name}: latent image of the data"),
            f"Where {name} takes {len(x)} points of the data: ideally the standard normal, whose standard "
            "deviations are the circles.",
        ),
        _paths(trial, target, model),
        Picture.of(
            plotting.training_curve(
                history, floors={"floor H(X)": target.entropy}, title=f"{name}: training"
            ),
            _training_caption(trial),
        ),
    ]


def _training_caption(trial: Trial) -> str:
    nt = trial.recipe.options.get("nt_train")
    coarse = f" with the {nt} time steps of training, which flatter it" if nt else ""
    return f"J_ML of {trial.name} on each batch of {trial.recipe.training['batch_size']}{coarse}, in nats."


def _paths(trial: Trial, target: Target2D, model: NormalizingFlow) -> Picture:
    z = torch.randn(80, 2, generator=torch.Generator().manual_seed(0))
    how = "in time" if isinstance(model.flow.transform(), ContinuousTransform) else "layer by layer"
    (left, right), (low, high) = target.window
    window = ((min(left, -3.0), max(right, 3.0)), (min(low, -3.0), max(high, 3.0)))
    picture = plotting.paths(way_of(model, z), window, title=f"{trial.name}: paths {how}")
    return Picture.of(picture, f"How {trial.name} takes 80 latents to the data, {how}.")
