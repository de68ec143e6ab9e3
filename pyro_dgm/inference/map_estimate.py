"""Most probable latents of inverse problems, from many starts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pyro_dgm.arguments import positive_int, positive_number
from pyro_dgm.errors import DataError
from pyro_dgm.models import InverseProblem

__all__ = ["MapEstimate", "map_estimate"]


@dataclass(frozen=True)
class MapEstimate:
    """The best latents found, and how well the starts agree.

    Attributes:
        z: Of shape ``(n, latent_dim)``.
        x: What the generator makes of them, ``(n, *event)``.
        log_joint: log p(y, z) there, of shape ``(n,)``, in nats.
        all_log_joints: The same where each start ended, ``(num_starts, n)``.
    """

    z: Tensor
    x: Tensor
    log_joint: Tensor
    all_log_joints: Tensor

    @property
    def agreement(self) -> Tensor:
        """Share of starts that ended within 0.01 nats of the best, of shape ``(n,)``."""
        return (self.all_log_joints > self.log_joint - 0.01).float().mean(0)


def map_estimate(
    problem: InverseProblem,
    y: Tensor,
    *,
    num_starts: int = 16,
    steps: int = 300,
    lr: float = 0.1,
    seed: int | None = None,
) -> MapEstimate:
    r"""Maximise :math:`\log p(y, z)` over z by Adam, for all problems and starts at once.

    The starts are draws of the prior. The objective has many local maxima for a neural generator, which is
    what the starts are for.

    Args:
        problem: The inverse problem.
        y: Observations ``(n, *observed)`` of ``n`` independent problems.
        num_starts: Number of starts of each.
        steps: Steps of Adam, whose rate falls to zero as a cosine.
        lr: Initial learning rate.
        seed: Seed of the starts.

    Raises:
        DataError: If no start of some problem ends at a finite log joint, or a number is not positive.
        ShapeError: If the observations are not those of the operator.
    """
    num_starts, steps = positive_int("num_starts", num_starts), positive_int("steps", steps)
    lr = positive_number("lr", lr)
    problem.check_number(len(y))
    with torch.random.fork_rng(enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        z = problem.prior().expand(torch.Size([len(y)])).sample(torch.Size([num_starts])).requires_grad_()
    problem.check_observations(y, problem.observation(problem.generate(z.detach()[0])))
    optimizer = torch.optim.Adam([z], lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        (-_log_joint(problem, y, z).sum()).backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        ends = _log_joint(problem, y, z).nan_to_num(nan=-torch.inf)
        best, index = ends.max(0)
        if not best.isfinite().all():
            raise DataError("some problems ended at no finite log joint from any start: lower lr.")
        z = z[index, torch.arange(len(y))]
        return MapEstimate(z, problem.generate(z), best, ends)


def _log_joint(problem: InverseProblem, y: Tensor, z: Tensor) -> Tensor:
    return problem.prior().log_prob(z) + problem.observation(problem.generate(z)).log_prob(y)
