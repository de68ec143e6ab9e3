"""The one door through which zuko is imported."""

from __future__ import annotations

import importlib
from types import ModuleType

from torch.distributions import Distribution

__all__ = ["import_zuko"]


def import_zuko() -> ModuleType:
    """Import zuko and leave argument validation as it was.

    ``import zuko`` turns the validation of torch's distributions off for the whole process: out-of-support
    data would then be scored in silence.

    Returns:
        The module ``zuko``.
    """
    validate = Distribution._validate_args
    try:
        return importlib.import_module("zuko")
    finally:
        Distribution.set_default_validate_args(validate)
