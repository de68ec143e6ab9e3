"""Whether a trained model computes what it says: the checks that need no other model."""

from __future__ import annotations

import math
from typing import Any

import torch
from pyro import poutine
from torch import Tensor, nn

from pyro_dgm.data import ImageData, RowData, Target2D
from pyro_dgm.diagnostics import audit
from pyro_dgm.metrics import log_weights
from pyro_dgm.models import GenerativeModel
from pyro_dgm.models.generative_model import evaluating, seeded
from pyro_dgm.objectives import Adversarial
from pyro_dgm.objectives.clipping import WeightClipping
from pyro_dgm.report.batch_mode import batch_mode_row
from pyro_dgm.report.flow_rows import audited_rows
from pyro_dgm.report.measurement import Measurement

__all__ = ["game_rows", "guide_rows", "sanity_rows"]


def sanity_rows(
    name: str,
    data: Target2D | ImageData | RowData,
    model: GenerativeModel,
    x: Tensor,
    objective: Any = None,
    *,
    seed: int = 0,
) -> list[Measurement]:
    """Check a model against its own mathematics, as far as it can be checked.

    - A density: log-determinants against autograd, its mass, both directions, its number of steps.
    - A guide: whether its draws have the spread that its density says, also in evaluation mode; whether the
      bound is the mean of log p(x, z) - log q(z | x); whether the data lie in the support of p(x | z).
    - A network that generates: whether a sample depends on the others drawn with it.
    - A game: whether the critic's score is free, and its weights within the box that the generator shall see.

    Args:
        name: Name of the model.
        data: What it was trained on.
        model: The model.
        x: Test rows, of shape ``(n, *event)``.
        objective: What trained it, where that is known.
        seed: Seed of all draws.

    Returns:
        Numbers with a limit; those that break it say so in ``holds``.
    """
    rows: list[Measurement] = []
    if model.capabilities.has_log_prob:
        source = data if isinstance(data, Target2D) else x
        rows += audited_rows(name, data, audit(model, source, num_data=2000, seed=seed))
    guide: Any = getattr(model, "guide", None)
    if model.capabilities.has_bound and hasattr(guide, "posterior"):
        rows += guide_rows(name, data.name, model, x, seed=seed)
    network = getattr(model, "generator", getattr(model, "decoder", None))
    if isinstance(network, nn.Module):
        rows.append(batch_mode_row(name, data.name, network, model.capabilities.latent_dim))
    if isinstance(objective, Adversarial):
        rows += game_rows(name, data.name, objective, x, seed=seed)
    return rows


@torch.no_grad()
def guide_rows(name: str, data: str, model: Any, x: Tensor, *, seed: int = 0) -> list[Measurement]:
    """Check a guide's draws against its density, the bound against its definition, and the support."""
    x, guide = x[:64], model.guide
    with evaluating(model), seeded(seed):
        drawn = poutine.trace(guide).get_trace(x.repeat_interleave(50, 0)).nodes["z"]["value"]
        z = drawn.reshape(len(x), 50, -1)
        posterior = guide.posterior(x)
        spread = (z - posterior.mean[:, None]).square().mean(1) / posterior.variance
        inside = model.decode(z[:, 0]).support.check(x)
        weights = log_weights(model, guide, x, 64)
        bound = torch.stack([model.log_prob_bound(x) for _ in range(64)])
    ratio, noise = spread.mean().item(), math.sqrt(2 / (50 * spread.numel()))
    gap = bound.mean(0).mean().item() - weights.mean(0).mean().item()
    variance = (weights.var(0) + bound.var(0)).mean().item() / (64 * len(x))
    limit = 4 * math.sqrt(variance)
    share = inside.double().mean().item()
    how = f"{len(x)} test rows, 50 draws each, in evaluation mode"
    return [
        Measurement(
            name,
            data,
            "spread of the guide's draws",
            ratio,
            "",
            f"1 ± {6 * noise:.2g}",
            f"mean of (z - mean)^2 / variance; {how}",
            holds=abs(ratio - 1) < 6 * noise,
        ),
        Measurement(
            name,
            data,
            "bound less its definition",
            gap,
            "nats",
            f"0 ± {limit:.2g}",
            "mean of log_prob_bound less that of log p(x, z) - log q(z | x), other draws, evaluation mode",
            holds=abs(gap) < limit,
        ),
        Measurement(
            name,
            data,
            "rows in the support of p(x | z)",
            share,
            "",
            "1",
            "a density of other data, such as grey pixels under a Bernoulli, has no unit",
            holds=share == 1.0,
        ),
    ]


@torch.no_grad()
def game_rows(name: str, data: str, game: Adversarial, x: Tensor, *, seed: int = 0) -> list[Measurement]:
    """Check that the critic gives a score rather than a probability, and that clipped weights are clipped."""
    critic, x = game.critic, x[:64]
    with evaluating(critic), seeded(seed):
        noise = torch.randn_like(x)
        scores = torch.cat([critic(inputs).flatten() for inputs in (x, 100 * noise, -100 * noise, 1000 * x)])
    inside = ((scores >= 0) & (scores <= 1)).double().mean().item()
    rows = [
        Measurement(
            name,
            data,
            "critic's scores within [0, 1]",
            inside,
            "",
            "< 1",
            "share over test rows and far inputs: all of them mean a sigmoid, and the losses take scores",
            holds=inside < 1,
        )
    ]
    for regulariser in game.regularisers:
        if isinstance(regulariser, WeightClipping):
            largest = max(p.abs().max().item() for p in critic.parameters())
            rows.append(
                Measurement(
                    name,
                    data,
                    "largest weight of the critic",
                    largest,
                    "",
                    f"≤ {regulariser.limit:g}",
                    "as the generator meets it: clipping before the update leaves it outside of the box",
                    holds=largest <= regulariser.limit * (1 + 1e-6),
                )
            )
    return rows
