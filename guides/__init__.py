"""Pyro guides, imported as ``pyro_dgm.guides``."""

if __name__ != "pyro_dgm.guides":
    raise ImportError(
        f"this folder is the package 'pyro_dgm.guides', but it is being imported as {__name__!r}. "
        "Write 'from pyro_dgm import guides' or 'from pyro_dgm.guides import ...' instead."
    )

from pyro_dgm.guides.amortized import AmortizedGuide
from pyro_dgm.guides.amortized_flow import AmortizedFlow
from pyro_dgm.guides.amortized_normal import AmortizedNormal
from pyro_dgm.guides.auto_flow import AutoFlow
from pyro_dgm.guides.dequantizers import UniformDequantizer, VariationalDequantizer
from pyro_dgm.guides.empty import Empty
from pyro_dgm.guides.global_and_local import GlobalAndLocal

__all__ = [
    "AmortizedFlow",
    "AmortizedGuide",
    "AmortizedNormal",
    "AutoFlow",
    "Empty",
    "GlobalAndLocal",
    "UniformDequantizer",
    "VariationalDequantizer",
]
