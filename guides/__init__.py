"""Pyro guides, imported as ``pyro_dgm.guides``."""

if __name__ != "pyro_dgm.guides":
    raise ImportError(
        f"this folder is the package 'pyro_dgm.guides', but it is being imported as {__name__!r}. "
        "Write 'from pyro_dgm import guides' or 'from pyro_dgm.guides import ...' instead."
    )
