"""Saving a module and its configuration in a folder, and loading it without running anything."""

from __future__ import annotations

import os
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pyro_dgm.errors import CheckpointError
from pyro_dgm.training.atomic import alone_in, check_writable, remove_leftovers, write_atomically
from pyro_dgm.training.manifest import (
    MANIFEST,
    FileEntry,
    Manifest,
    plain_json,
    read_manifest,
    read_verified,
)

__all__ = [
    "check_architecture",
    "check_size",
    "load_weights",
    "parse_tensors",
    "read_config",
    "read_extra",
    "save",
    "tensors_of",
    "write_run",
]


def save(
    folder: str | os.PathLike[str],
    module: nn.Module,
    *,
    config: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Path:
    """Save the weights and buffers of a module, with what is needed to build it again.

    The folder gets ``weights-<checksum>.safetensors`` and ``manifest.json``; other files in it stay. The
    manifest is replaced last and in one instant: killed at any moment, a run that was saved there before is
    still whole.

    Args:
        folder: Where to; made if it does not exist.
        module: What to save.
        config: How to build the module, as plain JSON: see :func:`read_config`.
        extra: Whatever else belongs to the run, such as results, as plain JSON: see :func:`read_extra`.

    Returns:
        The folder.

    Raises:
        OutputError: If the folder cannot be written to.
        TypeError: If ``config`` or ``extra`` is not plain JSON, or the module's state is not all tensors.

    Example:
        >>> import tempfile
        >>> run = save(tempfile.mkdtemp(), nn.Linear(2, 1), config={"in_features": 2})
        >>> load_weights(run, nn.Linear(2, 1))
        >>> read_config(run)
        {'in_features': 2}
    """
    return write_run(folder, {"weights": tensors_of(module)}, config=config, extra=extra)


def write_run(
    folder: str | os.PathLike[str],
    files: Mapping[str, Mapping[str, Tensor]],
    *,
    config: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Path:
    """Write one safetensors file for each role, and then the manifest that makes them valid.

    Args:
        folder: Where to; made if it does not exist.
        files: Tensors by name, by role: ``weights``, and ``state`` where a run is to go on.
        config: Plain JSON.
        extra: Plain JSON.

    Raises:
        OutputError: If the folder cannot be written to; what was saved there before is then still whole.
        TypeError: If ``config`` or ``extra`` is not plain JSON.
    """
    from safetensors.torch import save as serialise

    described: tuple[dict[str, Any], dict[str, Any]] = (
        plain_json(config or {}, "config"),
        plain_json(extra or {}, "extra"),
    )
    path, entries = check_writable(folder), {}
    with alone_in(path) as alone:
        for role, tensors in files.items():
            content = serialise({name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()})
            entries[role] = FileEntry.of(role + "-{sha256:.16}.safetensors", content)
            write_atomically(path / entries[role].name, content)
        Manifest(entries, *described, _versions()).write(path)
        if alone:
            _clean(path, keep={entry.name for entry in entries.values()})
    return path


def load_weights(folder: str | os.PathLike[str], module: nn.Module) -> None:
    """Set the weights and buffers of a module to the saved ones, bit for bit.

    Nothing in the folder is executed, and nothing is changed before everything has been checked: sizes,
    checksums, and names, shapes and dtypes against the module's.

    Args:
        folder: Where the run was saved.
        module: A module of the same architecture, on any device. Lazy layers and guides must have been
            called.

    Raises:
        CheckpointError: If there is no saved run, it is damaged or of a newer format, or the module differs.
    """
    path = Path(folder)
    saved = parse_tensors(_read_weights(path, module), path)
    check_architecture(saved, tensors_of(module), path)
    module.load_state_dict(saved)


def read_config(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the configuration that a run was saved with.

    Raises:
        CheckpointError: If there is no saved run, or its manifest is damaged or of a newer format.
    """
    return read_manifest(folder).config


def read_extra(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what else a run was saved with.

    Raises:
        CheckpointError: If there is no saved run, or its manifest is damaged or of a newer format.
    """
    return read_manifest(folder).extra


def _read_weights(path: Path, module: nn.Module, attempts: int = 3) -> bytes:
    manifest = read_manifest(path)
    entry = manifest.files.get("weights")
    if entry is None:
        raise CheckpointError(f"the manifest in {path} names no weights. Save the module again.")
    check_size(entry, module, path)
    try:
        return read_verified(path, entry)
    except CheckpointError:
        # Another process may just have saved a newer run there.
        if attempts > 1 and read_manifest(path) != manifest:
            return _read_weights(path, module, attempts - 1)
        raise


def parse_tensors(content: bytes, path: Path) -> dict[str, Tensor]:
    """Return the tensors in the content of a safetensors file.

    Raises:
        CheckpointError: If it is none.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return load(content)
    # what is declared can also be beyond what torch makes: a dtype, a size, a place in the file
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError, OverflowError) as error:
        raise CheckpointError(f"the tensors in {path} are no safetensors file: {error}.") from error


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """Return the state of a module, all of which must be tensors.

    Raises:
        TypeError: If something else is in it.
    """
    state = module.state_dict()
    others = [name for name, value in state.items() if not isinstance(value, Tensor)]
    if others:
        raise TypeError(f"only tensors can be saved, but the state of the module has {', '.join(others)}.")
    return state


def check_size(entry: FileEntry, module: nn.Module, path: Path) -> None:
    """Refuse a file that is too large for the module before any of it is read.

    Raises:
        CheckpointError: If it is.
    """
    tensors = tensors_of(module)
    # the header of a safetensors file takes about 100 bytes for each tensor, besides its name
    header = 2**16 + sum(1024 + 8 * len(name) for name in tensors)
    largest = 4 * header + 16 * sum(t.numel() for t in tensors.values())
    if entry.size > largest:
        raise CheckpointError(
            f"{path / entry.name} has {entry.size} bytes, more than a {type(module).__name__} of this size "
            "can need: it is another architecture. Build the module from read_config(folder)."
        )


def check_architecture(saved: Mapping[str, Tensor], own: Mapping[str, Tensor], path: Path) -> None:
    """Compare names, shapes and dtypes.

    Raises:
        CheckpointError: If they differ; the message lists where.
    """
    problems = []
    if missing := sorted(own.keys() - saved.keys()):
        problems.append(f"missing in the file: {', '.join(missing)}")
    if surplus := sorted(saved.keys() - own.keys()):
        problems.append(f"not in the module: {', '.join(surplus)}")
    for name in sorted(own.keys() & saved.keys()):
        here, there = own[name], saved[name]
        if (here.shape, here.dtype) != (there.shape, there.dtype):
            problems.append(
                f"{name} is {tuple(there.shape)} {there.dtype} in the file, but {tuple(here.shape)} "
                f"{here.dtype} in the module"
            )
    if problems:
        raise CheckpointError(
            f"the run in {path} is of another architecture than this module: {'; '.join(problems)}. Build "
            "the module from read_config(folder), in the same dtype."
        )


def _clean(path: Path, keep: Set[str]) -> None:
    """Remove the files of the run before, and what processes that were killed have left."""
    for pattern in ("weights-*.safetensors", "state-*.safetensors"):
        remove_leftovers(path, pattern)
        for file in path.glob(pattern):
            if file.name not in keep:
                file.unlink(missing_ok=True)
    remove_leftovers(path, MANIFEST)


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    import pyro

    import pyro_dgm

    return {
        "pyro_dgm": pyro_dgm.__version__,
        "torch": str(torch.__version__),
        "pyro": pyro.__version__,
        "safetensors": version("safetensors"),
    }
