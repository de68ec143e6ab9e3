"""Whether a guide fits its model: asked before the first step, not found out from wrong numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from pyro import poutine

from pyro_dgm.errors import DataError, ShapeError
from pyro_dgm.inference.site_shapes import latent_sites
from pyro_dgm.naming import unregistered

__all__ = ["check_guide"]

Program = Callable[..., Any]


def check_guide(model: Program, guide: Program, *args: Any, **kwargs: Any) -> None:
    """Raise unless a guide samples exactly the latent sites of its model, in their shapes and supports.

    Pyro's ``SVI`` trains a guide that lacks a site, or has one too many, with a warning; a bound is then not
    a bound. Model and guide run once, without changing parameters or the global random state.

    Args:
        model: A Pyro model with the data given, in its arguments or conditioned.
        guide: A guide of it.
        *args: Arguments of both.
        **kwargs: Keyword arguments of both.

    Raises:
        DataError: If a site is missing or superfluous, lies on another device, or has values outside of the
            model's support; a discrete latent may be missing, for ``TraceEnum_ELBO`` to sum out, but only
            where it is marked for that.
        ShapeError: If a site has another shape than in the model.

    Example:
        >>> import pyro
        >>> import pyro.distributions as dist
        >>> def model():
        ...     pyro.sample("scale", dist.HalfNormal(1.0))
        >>> def guide():
        ...     pyro.sample("scale", dist.Normal(0.0, 1.0))
        >>> check_guide(model, guide)  # doctest: +IGNORE_EXCEPTION_DETAIL
        Traceback (most recent call last):
        DataError: the guide draws site 'scale' from a Normal over real numbers, but ...
    """
    for name, (wanted, given) in matched_sites(model, guide, args, kwargs).items():
        _check_support(name, wanted, given)


def matched_sites(
    model: Program, guide: Program, args: Any, kwargs: Any
) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """The latent sites of model and guide by name, if these are the same, of one shape and on one device."""
    with torch.no_grad(), unregistered(), torch.random.fork_rng():
        proposed = poutine.trace(guide).get_trace(*args, **kwargs)
        free = poutine.trace(model).get_trace(*args, **kwargs)
    wanted, given = latent_sites(free), latent_sites(proposed)
    enumerated = {name for name, site in wanted.items() if site["infer"].get("enumerate")}
    missing, extra = set(wanted) - set(given) - enumerated, set(given) - set(wanted)
    if missing or extra:
        raise DataError(
            f"the guide must sample the latent sites of the model, {_names(wanted)}, but "
            + " and ".join(
                ([f"lacks {_names(missing)}"] if missing else [])
                + ([f"has {_names(extra)}, which the model lacks"] if extra else [])
            )
            + ". Give both one name, mark what is no latent as infer={'is_auxiliary': True}, or hide from "
            "the model's guide what another part of it samples."
        )
    for name, site in given.items():
        _check_shape(name, wanted[name], site)
    return {name: (wanted[name], site) for name, site in given.items()}


def _check_shape(name: str, wanted: dict[str, Any], given: dict[str, Any]) -> None:
    here, there = given["value"], wanted["value"]
    if here.device != there.device:
        raise DataError(
            f"site {name!r} is on {there.device} in the model but on {here.device} in the guide: move one of "
            "them with .to(device) first."
        )
    if here.shape != there.shape or given["fn"].event_shape != wanted["fn"].event_shape:
        raise ShapeError(
            f"site {name!r} has shape {tuple(there.shape)} and event shape {tuple(wanted['fn'].event_shape)} "
            f"in the model, but {tuple(here.shape)} and {tuple(given['fn'].event_shape)} in the guide. Put "
            "both in the same plates, with the same to_event()."
        )


def _check_support(name: str, wanted: dict[str, Any], given: dict[str, Any]) -> None:
    if str(given["fn"].support) == str(wanted["fn"].support):
        return
    # A guide that leaves the support does so at some draw in many; one draw alone may lie inside.
    with torch.no_grad(), torch.random.fork_rng():
        draws = given["fn"].sample((200,))
    inside = wanted["fn"].support.check(draws)
    if not inside.all():
        share = 1 - inside.float().mean().item()
        raise DataError(
            f"the guide draws site {name!r} from a {type(given['fn']).__name__} over {given['fn'].support}, "
            f"but {share:.0%} of its values are outside of the model's support, {wanted['fn'].support}: "
            "build the guide for that support, for a flow by support=."
        )


def _names(names: Any) -> str:
    return ", ".join(map(repr, sorted(names))) or "none"
