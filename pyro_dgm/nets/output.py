"""The last layer of decoders and generators: where their values lie."""

from __future__ import annotations

from typing import Literal

from torch import nn

from pyro_dgm.errors import UnknownNameError

__all__ = ["Output", "squashing"]

Output = Literal["logits", "sigmoid", "tanh"]

_OUTPUTS: dict[str, type[nn.Module]] = {"logits": nn.Identity, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh}


def squashing(output: Output) -> nn.Module:
    """Return the map onto the range: ``"logits"`` the real line, ``"sigmoid"`` [0, 1], ``"tanh"`` [-1, 1].

    Example:
        >>> squashing("sigmoid")
        Sigmoid()
    """
    if output not in _OUTPUTS:
        raise UnknownNameError.of("output", output, _OUTPUTS)
    return _OUTPUTS[output]()
