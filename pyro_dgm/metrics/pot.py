"""The one door to POT, an optional dependency."""

from __future__ import annotations

import warnings
from typing import Any

__all__ = ["import_pot"]


def import_pot() -> Any:
    r"""Return the module ``ot``.

    Its docstrings have backslashes that Python warns of when it compiles them for the first time; that is no
    concern of whoever measures a distance.

    Raises:
        ImportError: If it is not installed, with how to.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            import ot
        except ImportError as error:
            raise ImportError('exact transport needs POT: pip install "pyro-dgm[metrics]"') from error
    return ot
