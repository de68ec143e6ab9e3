"""The checkpoints of a training run: a folder with one saved run for each of the last few, and the best."""

from __future__ import annotations

import os
import re
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pyro_dgm.errors import CheckpointError, OutputError
from pyro_dgm.training.atomic import alone_in, check_writable, sync_folder
from pyro_dgm.training.checkpoint import (
    check_architecture,
    check_size,
    parse_tensors,
    tensors_of,
    write_run,
)
from pyro_dgm.training.manifest import MANIFEST, Manifest, read_manifest, read_verified
from pyro_dgm.training.state_tree import flatten, unflatten

__all__ = ["Checkpoints", "latest_checkpoint", "read_checkpoint"]

_NAME = re.compile(r"step-(\d{10})")
# The optimiser, averages and best weights take some multiple of the weights, and the history what it takes.
_TIMES_THE_WEIGHTS, _HISTORY = 64, 2**30


class Checkpoints:
    """Writes checkpoints of a run into a folder and removes old ones.

    Each is a folder ``step-<number>`` of its own, valid from the instant in which its manifest appears.
    Killed at any moment, the one before is whole. ``best`` has the weights with the best validation loss.
    Each of them is also a saved run: :func:`~pyro_dgm.training.load_weights` gives the model its weights.

    Args:
        folder: Where to.
        keep: Number of the last checkpoints to keep.

    Raises:
        OutputError: If the folder cannot be written to.
    """

    def __init__(self, folder: str | os.PathLike[str], keep: int = 2) -> None:
        self.folder, self.keep = check_writable(folder), keep

    def tidy(self) -> None:
        """Remove what processes that were killed while writing have left."""
        with alone_in(self.folder) as alone:
            if alone:
                for incomplete in set(self.folder.glob("step-*")) - set(_complete(self.folder).values()):
                    shutil.rmtree(incomplete, ignore_errors=True)
                for interrupted in self.folder.rglob(".*.tmp-*"):
                    interrupted.unlink(missing_ok=True)

    def latest(self) -> Path | None:
        """The complete checkpoint of the highest step, if there is one."""
        return latest_checkpoint(self.folder)

    def write(
        self, step: int, weights: Mapping[str, Tensor], state: Mapping[str, Any], config: Mapping[str, Any]
    ) -> Path:
        """Write the checkpoint of a step, then remove those that are too many.

        Args:
            step: Number of updates made.
            weights: The model's, by name.
            state: Whatever else the run needs to go on.
            config: What the run is.

        Raises:
            OutputError: If it cannot be written. What it left is removed; older checkpoints stay.
        """
        plain, tensors = flatten(state, weights)
        path = self._own(f"step-{step:010d}")
        try:
            write_run(path, {"weights": weights, "state": tensors}, config=config, extra={"state": plain})
            sync_folder(self.folder)
        except OutputError:
            if not (path / MANIFEST).exists():
                shutil.rmtree(path, ignore_errors=True)
            raise
        for old in sorted(_complete(self.folder).items())[: -self.keep]:
            _remove(old[1])
        return path

    def write_best(self, weights: Mapping[str, Tensor], extra: Mapping[str, Any]) -> None:
        """Write the best weights so far, as a saved run without state."""
        write_run(self._own("best"), {"weights": weights}, extra=extra)

    def _own(self, name: str) -> Path:
        """A folder of ours to write to: not a link to another one.

        Raises:
            OutputError: If it is one.
        """
        path = self.folder / name
        if path.is_symlink():
            raise OutputError(f"{path} is a link, and is not written through. Remove it.")
        return path

    def clear(self) -> None:
        """Remove all checkpoints."""
        for path in _complete(self.folder).values():
            _remove(path)
        if (self.folder / "best" / MANIFEST).exists() and not (self.folder / "best").is_symlink():
            _remove(self.folder / "best")


def latest_checkpoint(folder: str | os.PathLike[str]) -> Path | None:
    """Return the complete checkpoint of the highest step in a folder that ``fit`` wrote to, if there is one.

    Example:
        >>> import tempfile
        >>> latest_checkpoint(tempfile.mkdtemp()) is None
        True
    """
    complete = _complete(Path(folder))
    return complete[max(complete)] if complete else None


def read_checkpoint(folder: str | os.PathLike[str], model: nn.Module) -> tuple[Manifest, dict[str, Any]]:
    """Read and verify a checkpoint, without changing anything or executing any of it.

    Args:
        folder: A checkpoint, such as ``latest_checkpoint(folder)``.
        model: The model whose weights it should hold.

    Returns:
        The manifest, and the state that was saved.

    Raises:
        CheckpointError: If it is missing, damaged, of a newer format, without a state, or of another
            architecture.
    """
    path = Path(folder)
    manifest = read_manifest(path)
    if not {"weights", "state"} <= manifest.files.keys() or "state" not in manifest.extra:
        raise CheckpointError(
            f"{path} holds a saved model but no state of a training run, so that training cannot go on from "
            "it. Resume from a folder that fit(checkpoint=...) wrote to."
        )
    _check_sizes(manifest, model, path)
    parts = {
        role: parse_tensors(read_verified(path, manifest.files[role]), path) for role in ("weights", "state")
    }
    check_architecture(parts["weights"], tensors_of(model), path)
    state = unflatten(manifest.extra["state"], {**parts["weights"], **parts["state"]})
    if not isinstance(state, dict):
        raise CheckpointError(f"the state in {path} is damaged: it is no dictionary. Nothing was loaded.")
    _warn_of_versions(manifest, path)
    return manifest, state


def _check_sizes(manifest: Manifest, model: nn.Module, path: Path) -> None:
    """Refuse what is too large to belong to this model, before any of it is read."""
    check_size(manifest.files["weights"], model, path)
    weights = sum(t.numel() * t.element_size() for t in tensors_of(model).values())
    largest, state = _HISTORY + _TIMES_THE_WEIGHTS * weights, manifest.files["state"]
    if state.size > largest:
        raise CheckpointError(
            f"{path / state.name} has {state.size} bytes, more than the state of a run of this model can "
            f"need ({largest}). It is of another model; nothing was loaded."
        )


def _warn_of_versions(manifest: Manifest, path: Path) -> None:
    saved, here = manifest.versions.get("torch", ""), str(torch.__version__)
    if saved.split(".")[:2] != here.split(".")[:2]:
        warnings.warn(
            f"{path} was saved by torch {saved}, and this is torch {here}: training goes on, but perhaps "
            "not to the bit.",
            UserWarning,
            stacklevel=4,
        )


def _complete(folder: Path) -> dict[int, Path]:
    found = {}
    for path in folder.glob("step-*"):
        if (match := _NAME.fullmatch(path.name)) and (path / MANIFEST).is_file() and not path.is_symlink():
            found[int(match[1])] = path
    return found


def _remove(path: Path) -> None:
    """Remove a checkpoint; without its manifest, which goes first, it is none any more."""
    (path / MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(path, ignore_errors=True)
