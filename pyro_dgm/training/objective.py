"""What fit can train, and how each kind learns."""

from __future__ import annotations

from typing import Any

import torch
from pyro.infer import SVI
from pyro.infer.autoguide import AutoGuide
from pyro.nn import PyroModule
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from pyro_dgm.flows import Flow
from pyro_dgm.objectives import ELBO
from pyro_dgm.training.batches import Source
from pyro_dgm.training.own_step import networks_of

__all__ = ["as_objective", "devices_of", "initialise", "steps_itself", "tensor_like"]


def as_objective(given: Any) -> Any:
    """Turn a model with its guide, or a pair of both, into an ELBO; return an objective as it is.

    Raises:
        TypeError: If it is nothing that can be trained; the message says what can.
    """
    if isinstance(given, tuple) and len(given) == 2 and all(isinstance(part, nn.Module) for part in given):
        return ELBO(*given)
    if isinstance(given, SVI):
        raise TypeError("SVI brings its own loop: pass fit the pair (model, guide) instead.")
    if isinstance(given, Flow):
        raise TypeError("a flow is a distribution to build models with: fit(NormalizingFlow(flow), data).")
    if steps_itself(given):
        return given
    if isinstance(given, nn.Module):
        # A loss module may well hold a guide too, but beside its model.
        is_model = isinstance(given, PyroModule) or (hasattr(given, "guide") and not hasattr(given, "model"))
        return ELBO(given) if is_model else given
    raise TypeError(
        "fit needs an objective: a loss module such as ELBO(model, guide) whose forward(batch) is a scalar, "
        "a model with a .guide, a pair (model, guide) of nn.Modules, or an object with .step(batch) such as "
        f"Adversarial(model, critic); but got a {type(given).__name__}."
    )


def steps_itself(objective: Any) -> bool:
    """Whether the objective makes its own updates."""
    return callable(getattr(objective, "step", None)) and not isinstance(objective, type)


def devices_of(objective: Any) -> set[torch.device]:
    """The devices that the parameters are on."""
    return {p.device for network in networks_of(objective) for p in network.parameters()}


def tensor_like(objective: Any, data: Any) -> Tensor:
    """A tensor of the dtype and on the device that the objective computes in.

    These are those of its parameters; before it has any, those of data that are tensors.
    """
    networks = networks_of(objective)
    own = (t for network in networks for t in (*network.parameters(), *network.buffers()) if not is_lazy(t))
    given = data if isinstance(data, tuple | list) else (data,)
    for tensor in (*own, *given[:1]):
        if isinstance(tensor, Tensor) and tensor.is_floating_point():
            return torch.empty(0, dtype=tensor.dtype, device=tensor.device)
    return torch.empty(0)


def initialise(objective: Any, source: Source) -> None:
    """Show the first batch to parts that make their parameters when they are first called.

    These are lazy layers and Pyro's AutoGuides.
    """
    parts = [part for network in networks_of(objective) for part in network.modules()]
    lazy = any(is_lazy(p) for part in parts for p in part.parameters(recurse=False))
    waiting = any(isinstance(part, AutoGuide) and part.prototype_trace is None for part in parts)
    if (lazy or waiting) and isinstance(objective, nn.Module):
        with torch.no_grad():
            objective(source.batch(0))
