"""``pyro-dgm train``."""

from __future__ import annotations

import inspect
import math
from pathlib import Path
from typing import Any

from pyro_dgm import data as data_sets
from pyro_dgm import recipes
from pyro_dgm.errors import DataError, OutputError
from pyro_dgm.training import Checkpoints, check_writable

__all__ = ["run_train"]


def run_train(
    model: str,
    data: str | None,
    *,
    data_root: Path | None,
    download: bool,
    binarize: str | None,
    out: Path | None,
    steps: int | None,
    seconds: float | None,
    seed: int,
    resume: bool,
    quiet: bool,
    force: bool,
) -> int:
    """Check everything, train, save; return the exit code."""
    recipe = recipes.get(model)
    name = data or recipe.data
    options = recipe.options_of_data(name)
    settings = _limits(steps, seconds)
    folder = _folder(out or Path("runs") / f"{model}-{name}", force)
    if data_root is not None or download:
        options |= _files(name, data_root)
    if binarize is not None:
        options |= _pixels(name, binarize)
    rows = data_sets.load(name, **options, **({"download": True} if download else {}))
    check_writable(folder)
    checkpoints = Checkpoints(folder / "checkpoints")
    if not resume:
        checkpoints.clear()
    saving = {"checkpoint": checkpoints.folder, "resume": resume}

    if not quiet:
        print(f"training {model} ({recipe.summary}) on {rows.name}", flush=True)
    source = {"name": name, "options": options}
    trial = recipes.train(recipe, rows, seed=seed, progress=not quiet, source=source, **saving, **settings)
    trial.save(folder)
    history = trial.history
    if not quiet:
        print(f"{history.num_steps} updates in {history.seconds:.0f} s; saved in {folder}")
        print(f"next: pyro-dgm sample {folder}, pyro-dgm audit {folder}")
    return 130 if history.stopped == "interrupted" else 0


def _limits(steps: int | None, seconds: float | None) -> dict[str, Any]:
    """The arguments of fit that limit training; none for the recipe's own."""
    if seconds is not None and not 0 < seconds < math.inf:
        raise DataError(f"--seconds must be a positive number, but is {seconds:g}.")
    if steps is None and seconds is None:
        return {}
    return {"steps": steps, "max_time": seconds}


def _files(name: str, data_root: Path | None) -> dict[str, Any]:
    """The options of a data set that is read from files."""
    takes = inspect.signature(getattr(data_sets, name.replace("-", "_"), _no_files)).parameters
    if "root" not in takes:
        raise DataError(
            f"the data set {name} needs no files: leave out --data-root and --download, which are for "
            "mnist and fashion-mnist."
        )
    return {} if data_root is None else {"root": str(data_root.expanduser().absolute())}


def _pixels(name: str, binarize: str) -> dict[str, Any]:
    """The option of a data set of images that makes them binary."""
    if "binarize" not in inspect.signature(getattr(data_sets, name.replace("-", "_"), _no_files)).parameters:
        raise DataError(f"the data set {name} has no pixels to make binary: leave out --binarize.")
    return {"binarize": binarize}


def _no_files() -> None:
    pass


def _folder(folder: Path, force: bool) -> Path:
    """Refuse a folder that holds anything but a saved run, unless forced to."""
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file: choose another --out.")
    occupied = folder.is_dir() and any(folder.iterdir())
    ours = (folder / "manifest.json").exists() or (folder / "checkpoints").is_dir()
    if occupied and not ours and not force:
        raise OutputError(
            f"{folder} holds files that are no saved run: choose another --out, or say --force to save "
            "beside them."
        )
    return folder
