"""``pyro-dgm sample``, ``audit`` and ``list``."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from torch import Tensor

from pyro_dgm import data as data_sets
from pyro_dgm import plotting, recipes
from pyro_dgm.data import ImageData, Target2D
from pyro_dgm.errors import DataError
from pyro_dgm.models import GenerativeModel
from pyro_dgm.report import plain, to_text
from pyro_dgm.training import check_writable
from pyro_dgm.training.atomic import write_atomically

__all__ = ["run_audit", "run_list", "run_sample"]


def run_sample(folder: Path, *, num: int | None, out: Path | None, seed: int) -> int:
    """Draw rows from a saved run and write them; return the exit code."""
    out = folder / "samples.png" if out is None else out
    if out.suffix not in _WRITERS:
        raise DataError(f"--out must end in {', '.join(_WRITERS)}, but is {out}.")
    run = recipes.load_run(folder)
    check_writable(out.parent)
    is_image = run.recipe.event == "image"
    x = run.model.sample(num or (64 if is_image else 1000), seed=seed)
    write_atomically(out, _WRITERS[out.suffix](x, run.name))
    print(f"{len(x)} samples of {run.name}, seed {seed}: {out}")
    return 0


def run_audit(folder: Path, *, data_root: Path | None, seed: int) -> int:
    """Check a saved run and print the figures; return 1 if one breaks its limit."""
    run = recipes.load_run(folder)
    files: dict[str, Any] = {} if data_root is None else {"root": str(data_root)}
    data = recipes.load_data(run.config, **files)
    if run.model.capabilities.has_log_prob:
        return _audit_density(run.model, data, seed)

    from pyro_dgm.report.gan_findings import gan_rows
    from pyro_dgm.report.measurement import side_by_side
    from pyro_dgm.report.vae_findings import vae_rows

    assert isinstance(data, ImageData)
    rows = vae_rows if run.model.capabilities.has_bound else gan_rows
    measurements = rows(run, data, seed=seed + 1)
    print(to_text(side_by_side(f"{run.name} on {data.name}: it has no exact density to audit", measurements)))
    broken = [m for m in measurements if m.holds is False]
    for m in broken:
        print(plain(f"{m.quantity} is {m.text}, but should be: {m.limit}"))
    return 1 if broken else 0


def _audit_density(model: GenerativeModel, data: Target2D | ImageData, seed: int) -> int:
    from pyro_dgm.diagnostics import StepCountWarning, audit

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always", StepCountWarning)
        report = audit(model, data, seed=seed)
    print(plain_lines(str(report)))
    for warning in seen:
        if issubclass(warning.category, StepCountWarning):  # a finding, no matter of the code
            print(plain(f"note: {warning.message}"))
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    return 0 if report.passed else 1


def run_list() -> int:
    """Print the names of models and data sets; return the exit code."""
    print("models")
    for name in recipes.names():
        recipe = recipes.get(name)
        print(f"  {name:<16}{recipe.summary} ({recipe.event}s)")
    print("data sets")
    for event, note in (("vector", "points of the plane, density known"), ("image", "images")):
        for name in data_sets.names():
            if recipes.kind_of_data(name) == event:
                print(f"  {name:<16}{note}")
    return 0


def plain_lines(text: str) -> str:
    """Return a text in ASCII, line by line."""
    return "\n".join(plain(line) for line in text.splitlines())


def _png(x: Tensor, name: str) -> bytes:
    if x.dim() == 4:
        return plotting.png_bytes(plotting.image_grid(x, title=name))
    if x.dim() == 2 and x.shape[1] == 2:
        return plotting.png_bytes(plotting.samples(x, title=name))
    raise DataError(f"samples of shape {tuple(x.shape[1:])} make no picture: choose --out FILE.npy or .csv.")


def _npy(x: Tensor, name: str) -> bytes:
    import io

    import numpy as np

    file = io.BytesIO()
    np.save(file, x.numpy(), allow_pickle=False)
    return file.getvalue()


def _csv(x: Tensor, name: str) -> bytes:
    rows = x.flatten(1).tolist()
    head = ",".join(f"x{i + 1}" for i in range(len(rows[0])))
    return "\n".join([head, *(",".join(f"{value:.9g}" for value in row) for row in rows), ""]).encode()


_WRITERS = {".png": _png, ".npy": _npy, ".csv": _csv}
