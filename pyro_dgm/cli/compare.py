"""``pyro-dgm compare``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pyro_dgm import recipes
from pyro_dgm.errors import CheckpointError, DataError
from pyro_dgm.recipes import Run
from pyro_dgm.report.comparison import compare
from pyro_dgm.report.comparison_page import sanity_lines
from pyro_dgm.report.text import plain

__all__ = ["names_of", "run_compare"]


def names_of(folders: Sequence[Path]) -> list[str]:
    """What runs are called on the page: their folders, with the way to them only where two share a name.

    Example:
        >>> names_of([Path("runs/vae"), Path("runs/gan")]), names_of([Path("a/vae"), Path("b/vae")])
        (['vae', 'gan'], ['a/vae', 'b/vae'])
    """
    short = [folder.resolve().name for folder in folders]
    return short if len(set(short)) == len(short) else [str(folder) for folder in folders]


def run_compare(folders: Sequence[Path], *, data_root: Path | None, out: Path, num: int, seed: int) -> int:
    """Compare saved runs on the data of the first; return 1 if a run failed or a number breaks its limit."""
    models: dict[str, Run | Exception] = {}
    for name, folder in zip(names_of(folders), folders, strict=True):
        try:
            models[name] = recipes.load_run(folder)
        except CheckpointError as error:
            models[name] = error
    loaded = [entry for entry in models.values() if isinstance(entry, Run)]
    if not loaded:
        raise next(iter(entry for entry in models.values() if isinstance(entry, Exception)))
    sources = [run.config.get("data") for run in loaded]
    if any(source != sources[0] for source in sources):
        raise DataError(
            "the runs were trained on different data, and nothing of them can be compared: "
            + "; ".join(sorted({str(source) for source in sources}))
            + ". Train them again with the same --data and --binarize."
        )
    files: dict[str, Any] = {} if data_root is None else {"root": str(data_root)}
    data = recipes.load_data(loaded[0].config, **files)
    found = compare(models, data, num=num, seed=seed)
    page = found.write(out)
    for line in sanity_lines(found):
        print(plain(line))
    print(f"{page} and comparison.csv beside it")
    return 1 if found.failed or found.violations else 0
