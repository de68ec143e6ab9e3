"""Check an installed pyro_dgm from outside its checkout: python check_installed.py CHECKOUT."""

import importlib
import importlib.util
import pkgutil
import sys
from pathlib import Path


def main(checkout: Path) -> None:
    """Import every module, and compare what was installed with what the checkout holds."""
    sys.path = [p for p in sys.path if Path(p or ".").resolve() not in {checkout, checkout / "scripts"}]
    import pyro_dgm

    here = Path(pyro_dgm.__file__).parent
    assert checkout not in here.parents, f"pyro_dgm was imported from the checkout: {here}"
    assert (here / "py.typed").is_file(), "the wheel lacks py.typed"
    for short in ("models", "guides"):
        assert importlib.util.find_spec(short) is None, f"the wheel installs a top-level package {short!r}"
    modules = [m.name for m in pkgutil.walk_packages([str(here)], "pyro_dgm.")]
    for name in modules:
        if not name.endswith("__main__"):
            importlib.import_module(name)
    folders = {"pyro_dgm": Path(), "models": Path("pyro_dgm"), "guides": Path("pyro_dgm")}
    wanted = [
        parent / path.relative_to(checkout)
        for folder, parent in folders.items()
        for path in (checkout / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]
    lacking = sorted(str(p) for p in wanted if not (here.parent / p).exists())
    assert not lacking, f"the wheel lacks {lacking}"
    print(f"{len(modules)} modules of pyro_dgm {pyro_dgm.__version__} import from {here}")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
