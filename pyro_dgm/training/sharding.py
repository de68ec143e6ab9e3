"""Spreading the weights of a large model over the processes that train it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from pyro_dgm.errors import TrainingDiverged
from pyro_dgm.flows import Flow
from pyro_dgm.training.callbacks import AverageWeights, Callback
from pyro_dgm.training.objective import steps_itself
from pyro_dgm.training.parts import whole
from pyro_dgm.training.placing import outermost_plain
from pyro_dgm.training.ranks import Ranks

__all__ = ["check_sharding", "sharded"]


def check_sharding(objective: Any, optimizer: Any, callbacks: Sequence[Callback]) -> None:
    """Refuse what cannot be done with weights in parts, also where one process would not divide them.

    Raises:
        ValueError: If the objective steps itself, the optimiser is made already, or weights are averaged.
    """
    if steps_itself(objective):
        raise ValueError(
            f"shard=True divides the weights of a loss module, but {type(objective).__name__} steps itself, "
            "and its players call each other's networks. Leave shard=False."
        )
    if isinstance(optimizer, torch.optim.Optimizer):
        raise ValueError(
            "shard=True makes new parameters, which an optimizer that is made already does not hold. Give a "
            "class, or a function such as lambda ps: Adam(ps, lr=1e-3)."
        )
    if any(isinstance(callback, AverageWeights) for callback in callbacks):
        raise ValueError("shard=True cannot keep a copy of the weights on the side. Leave average=None.")


@contextmanager
def sharded(objective: nn.Module, ranks: Ranks, on: bool) -> Iterator[None]:
    """Let each process hold a part of each parameter, its gradient and its moments, for the time of a block.

    PyTorch's ``fully_shard``: the parameters of a network are put together before it is called, forwards or
    backwards, and let go of after it. Networks below models and guides are such groups, each layer of an
    ``nn.Sequential`` one of its own; everything else is one more. Parameters without dimensions cannot be
    divided and stay whole. At the end each parameter object has its whole value again.

    After an error that is not the same on all processes the model is left in parts: whoever is still there
    would wait for the others forever.

    Args:
        objective: A loss module, the same on all processes. It must be called as a module.
        ranks: The processes.
        on: Whether to. On one process nothing happens.
    """
    if not (on and ranks.many):
        yield
        return
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    own = _parameters_by_place(objective)
    kinds = {module: type(module) for module in objective.modules()}
    names = {module: set(vars(module)) for module in kinds}
    scalars = {places[0][2] for places in own.values() if places[0][2].dim() == 0}
    tied = {places[0][2] for places in own.values() if len(places) > 1}
    mesh = init_device_mesh(next(iter(own.values()))[0][2].device.type, (ranks.size,))
    groups = list(dict.fromkeys(_groups(objective, tied)))
    copying = [group.register_forward_hook(_without_views) for group in groups]
    for group in (*groups, objective):
        # whoever looks between two calls, to save or to remember weights, must find parts
        fully_shard(group, mesh=mesh, reshard_after_forward=True, ignored_params=scalars)
    added = {module: set(vars(module)) - names[module] for module in kinds}
    emptied = [places for places in own.values() if places[0][2] not in scalars]
    for places in emptied:
        parameter = places[0][2]
        parameter.data = parameter.new_empty(0)
    try:
        yield
    except TrainingDiverged:  # raised on all processes
        _put_together(emptied)
        raise
    else:
        _put_together(emptied)
    finally:
        for hook in copying:
            hook.remove()
        for module, kind in kinds.items():
            module.__class__ = kind
            _remove_traces(module, added[module])


def _groups(module: nn.Module, tied: set[nn.Parameter]) -> Iterator[nn.Module]:
    """The networks that are surely called as modules and share no parameter with others."""
    inside_flows = {part for flow in module.modules() if isinstance(flow, Flow) for part in flow.modules()}
    for network in dict.fromkeys(outermost_plain(module)):  # a guide may be found in two places
        if network not in inside_flows:
            yield from (layer for layer in _layers(network) if tied.isdisjoint(layer.parameters()))


def _layers(network: nn.Module) -> Iterator[nn.Module]:
    if type(network) is nn.Sequential:
        for layer in network:
            yield from _layers(layer)
    elif next(network.parameters(), None) is not None:
        yield network


def _parameters_by_place(objective: nn.Module) -> dict[int, list[tuple[nn.Module, str, nn.Parameter]]]:
    """Each parameter with all the places where it is held: tied ones have several."""
    places: dict[int, list[tuple[nn.Module, str, nn.Parameter]]] = {}
    for module in objective.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                places.setdefault(id(parameter), []).append((module, name, parameter))
    return places


@torch.no_grad()
def _put_together(emptied: list[list[tuple[nn.Module, str, nn.Parameter]]]) -> None:
    for places in emptied:
        module, name, parameter = places[0]
        parameter.data = whole(module._parameters[name]).detach()
        for module, name, _ in places:
            module._parameters[name] = parameter


def _without_views(module: nn.Module, args: Any, output: Any) -> Any:
    """Copy what is a view of something, as from ``chunk``: changed in place, it would lose its gradient."""
    if isinstance(output, Tensor):
        return output.clone() if output._is_view() else output
    if isinstance(output, tuple | list) and not hasattr(output, "_fields"):
        return type(output)(_without_views(module, args, part) for part in output)
    return output


def _remove_traces(module: nn.Module, added: set[str]) -> None:
    """Take back what sharding has added to a module: attributes, and hooks, some in the first step."""
    for name in added:
        vars(module).pop(name, None)
    tables = [table for name, table in vars(module).items() if "hook" in name and isinstance(table, dict)]
    numbers = {
        number
        for table in tables
        for number, hook in table.items()
        if str(getattr(hook, "__module__", "")).startswith("torch.distributed")
    }
    for table in tables:
        for number in numbers:
            table.pop(number, None)
