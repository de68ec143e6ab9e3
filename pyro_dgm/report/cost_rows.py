"""What a model has cost in training and costs in sampling."""

from __future__ import annotations

import time

from torch import nn

from pyro_dgm.objectives import Adversarial
from pyro_dgm.recipes import Trial
from pyro_dgm.report.measurement import Measurement

__all__ = ["COST", "cost_rows"]

# quantity -> unit, limit, source
COST = {
    "parameters of the sampler": ("", "none: a cost", "what drawing needs"),
    "parameters trained in all": ("", "none: a cost", "with the encoder or the critic"),
    "updates": ("", "none: a cost", ""),
    "training time": ("CPU s", "none: a cost", "processor time of fit alone"),
    "time for 1000 samples": ("CPU s", "none: a cost", "second call of sample(1000)"),
}


def cost_rows(trial: Trial) -> list[Measurement]:
    """Count parameters and updates, and measure processor time."""
    trial.model.sample(1000, seed=0)  # the first call is slower
    start = time.process_time()
    trial.model.sample(1000, seed=0)
    seconds = time.process_time() - start
    objective = trial.objective
    trained = objective.critic_loss if isinstance(objective, Adversarial) else objective
    values = (
        _num_parameters(getattr(trial.model, "decoder", trial.model)),
        _num_parameters(trained, trial.model),
        trial.history.num_steps,
        trial.history.cpu_seconds,
        seconds,
    )
    return [
        Measurement(trial.name, trial.data.name, quantity, value, unit, limit, source)
        for (quantity, (unit, limit, source)), value in zip(COST.items(), values, strict=True)
    ]


def _num_parameters(*modules: nn.Module) -> int:
    """Number of parameters in modules, each counted once."""
    return sum({id(p): p.numel() for module in modules for p in module.parameters()}.values())
