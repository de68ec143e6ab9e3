"""Calling a network that the user wrote, so that sizes that do not fit are said in the user's terms."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from pyro_dgm.errors import PyroDGMError, ShapeError

__all__ = ["call_network", "is_misfit"]

# What torch's messages have in common when a layer is given another shape or dtype than it was built for.
_SIGNS = ("shapes cannot be multiplied", "same dtype", "should be the same", "xpected", "size of tensor")


def call_network(role: str, network: nn.Module, *inputs: Tensor | None) -> Any:
    """Return ``network(*inputs)``.

    Args:
        role: What to call the network in messages, such as ``"the decoder"``.
        network: The network.
        inputs: What it is given.

    Raises:
        ShapeError: If a layer of it was built for another shape or dtype.
    """
    try:
        return network(*inputs)
    except RuntimeError as error:
        if isinstance(error, PyroDGMError) or not is_misfit(error):
            raise
        given = " and ".join(f"{tuple(x.shape)}, {x.dtype}" for x in inputs if isinstance(x, Tensor))
        wanted = next((p.dtype for p in network.parameters()), None)
        raise ShapeError(
            f"{role} cannot take what it was given, a tensor of shape {given}: {error}. Build it for that "
            f"size{f', and keep all in its dtype, {wanted}' if wanted is not None else ''}."
        ) from error


def is_misfit(error: RuntimeError) -> bool:
    """Whether torch says that a layer was given another shape or dtype than it was built for."""
    return any(sign in str(error) for sign in _SIGNS)
