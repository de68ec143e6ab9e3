"""What is measured and shown of a trained GAN."""

from __future__ import annotations

import math

from pyro_dgm import plotting
from pyro_dgm.data import ImageData
from pyro_dgm.models import ImplicitGenerator
from pyro_dgm.models.generative_model import evaluating, seeded
from pyro_dgm.objectives import Adversarial
from pyro_dgm.recipes import Run, Trial
from pyro_dgm.report.batch_mode import batch_mode_row
from pyro_dgm.report.energy_rows import energy_rows
from pyro_dgm.report.findings import Findings
from pyro_dgm.report.measurement import Measurement
from pyro_dgm.report.page import Picture

__all__ = ["gan_findings", "gan_rows"]


def gan_findings(trial: Trial, *, seed: int = 1) -> Findings:
    """Measure a GAN's samples, read its game, and draw it.

    Args:
        trial: The trained GAN.
        seed: Seed of all draws.
    """
    data, model = trial.data, trial.model
    assert isinstance(data, ImageData)
    assert isinstance(model, ImplicitGenerator)
    return Findings(
        [*gan_rows(trial, data, seed), _game(trial, data, seed)], _pictures(trial, data, model, seed)
    )


def gan_rows(run: Run, data: ImageData, seed: int = 1) -> list[Measurement]:
    """Measure the samples of a GAN."""
    model = run.model
    assert isinstance(model, ImplicitGenerator)
    return [
        *energy_rows(run, data, seed=seed),
        batch_mode_row(run.name, data.name, model.generator, model.latent_dim),
    ]


def _game(trial: Trial, data: ImageData, seed: int) -> Measurement:
    """What the critic still tells apart on the test images."""
    objective = trial.objective
    assert isinstance(objective, Adversarial)
    with evaluating(objective.model), evaluating(objective.critic), seeded(seed):
        losses = objective.evaluate_loss(data.test)
    if losses.slope is None:
        bound = losses.value / 2 + math.log(2)
        return Measurement(
            trial.name,
            data.name,
            "JS divergence seen by d",
            bound,
            "nats",
            "≤ log 2 = 0.6931; nothing seen at or below 0",
            "(E log d(x) + E log(1 - d(g(z)))) / 2 + log 2 on test images: a lower bound for this d",
            holds=bound <= math.log(2),
        )
    return Measurement(
        trial.name,
        data.name,
        "E f(x) - E f(g(z))",
        losses.value,
        "pixel values",
        f"slope met: {losses.slope:.2f} (1 wanted)",
        "on test images; a bound of W1 only divided by the critic's slope, and no measure of sample quality",
    )


def _pictures(trial: Trial, data: ImageData, model: ImplicitGenerator, seed: int) -> list[Picture]:
    history, name = trial.history, trial.name
    series = {column: history[column].tolist() for column in ("critic", "generator")}
    unit = "nats" if trial.recipe.options["loss"] == "non-saturating" else "score"
    levels = (
        {"critic at a draw": 2 * math.log(2), "generator at a draw": math.log(2)} if unit == "nats" else {}
    )
    return [
        Picture.of(
            plotting.image_grid(model.sample(64, seed=seed), title=f"{name}: samples"),
            f"64 samples of {name}, not chosen.",
        ),
        Picture.of(
            plotting.image_grid(data.test[:64], title="test images"), f"Real test images of {data.name}."
        ),
        Picture.of(
            plotting.training_curve(
                series, floors=levels, ylabel=f"loss ({unit})", title=f"{name}: training"
            ),
            "Losses of both players. Neither measures the quality of samples: they say who is ahead.",
        ),
    ]
