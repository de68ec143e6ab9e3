"""The manifest of a saved run: what belongs to it, with checksums, as plain JSON."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pyro_dgm.errors import CheckpointError
from pyro_dgm.training.atomic import write_atomically

__all__ = ["FORMAT", "MANIFEST", "FileEntry", "Manifest", "plain_json", "read_manifest", "read_verified"]

MANIFEST = "manifest.json"
FORMAT = 1
_LARGEST_MANIFEST = 16 * 2**20
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,200}")


@dataclass(frozen=True)
class FileEntry:
    """A file of the run: its name in the folder, size in bytes and SHA-256."""

    name: str
    size: int
    sha256: str

    @classmethod
    def of(cls, name: str, content: bytes) -> FileEntry:
        """Describe content that is to be written under a name, which may quote its ``{sha256}``."""
        sha256 = hashlib.sha256(content).hexdigest()
        return cls(name.format(sha256=sha256), len(content), sha256)


@dataclass(frozen=True)
class Manifest:
    """What a saved run consists of.

    Attributes:
        files: The files by their role. ``weights`` is always there; the roles of what a run needs to go on
            (optimiser, random states) stand beside it where they were saved.
        config: How the module was built, as the user of the checkpoint wrote it.
        extra: Whatever else was saved, such as results.
        versions: Versions of the libraries that wrote it.
        format: Version of this layout.
    """

    files: dict[str, FileEntry]
    config: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    format: int = FORMAT

    def write(self, folder: Path) -> None:
        """Make this the manifest of a folder, in one instant.

        Raises:
            OutputError: If the folder cannot be written to.
        """
        write_atomically(folder / MANIFEST, _serialise(asdict(self)))


def read_manifest(folder: str | os.PathLike[str]) -> Manifest:
    """Read and check the manifest of a saved run.

    Raises:
        CheckpointError: If there is none, or it is damaged or of a newer format.
    """
    path = Path(folder) / MANIFEST
    content = _read(path, _LARGEST_MANIFEST)
    try:
        record = json.loads(content, parse_constant=_no_number)
        version = record["format"]
    except (ValueError, RecursionError, TypeError, KeyError) as error:
        raise CheckpointError(
            f"{path} is damaged: it is no manifest ({type(error).__name__}). {_ADVICE}"
        ) from error
    if isinstance(version, int) and version > FORMAT:
        raise CheckpointError(
            f"{path} has format {version}, but this version of pyro_dgm reads formats up to {FORMAT}. "
            f"Upgrade pyro_dgm; the run was saved by {record.get('versions')}."
        )
    checksum = record.pop("sha256", None)
    try:
        genuine = version == FORMAT and _serialise(record) == content
    except (ValueError, RecursionError, TypeError):
        genuine = False
    if not genuine:
        raise CheckpointError(
            f"{path} is damaged: its checksum {checksum!r} is not that of its content. {_ADVICE}"
        )
    try:
        files = {role: FileEntry(**entry) for role, entry in record.pop("files").items()}
        manifest = Manifest(files=files, **record)
    except (TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{path} is damaged: {error}. {_ADVICE}") from error
    parts = (manifest.config, manifest.extra, manifest.versions)
    if not all(isinstance(part, dict) for part in parts) or not all(
        isinstance(version, str) for version in manifest.versions.values()
    ):
        raise CheckpointError(
            f"{path} is damaged: an entry is no dictionary, or a version no text. {_ADVICE}"
        )
    for entry in files.values():
        _check_entry(entry, path)
    return manifest


def _check_entry(entry: FileEntry, path: Path) -> None:
    if not isinstance(entry.name, str) or not _SAFE_NAME.fullmatch(entry.name):
        raise CheckpointError(
            f"{path} is refused: it names a file {entry.name!r}, which is no plain name inside its folder."
        )
    if type(entry.size) is not int or entry.size < 0 or not isinstance(entry.sha256, str):
        raise CheckpointError(f"{path} is damaged: the entry of {entry.name} is {entry}. {_ADVICE}")


def read_verified(folder: Path, entry: FileEntry) -> bytes:
    """Read a file that the manifest names, and return its content if it is what the manifest says.

    Raises:
        CheckpointError: If it is missing, no regular file, or of another size or content.
    """
    content = _read(folder / entry.name, entry.size)
    sha256 = hashlib.sha256(content).hexdigest()
    if (len(content), sha256) != (entry.size, entry.sha256):
        raise CheckpointError(
            f"{folder / entry.name} is damaged: its SHA-256 is {sha256[:12]}... and its size at least "
            f"{len(content)}, but {entry.size} bytes with {entry.sha256[:12]}... were saved. {_ADVICE}"
        )
    return content


def plain_json(value: Any, where: str) -> Any:
    """Return a value as JSON gives it back: tuples as lists, and nothing that is not plain.

    Raises:
        TypeError: If it holds anything but dictionaries with string keys, lists, strings, finite numbers,
            booleans and None; the message names where.
    """
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"{where} must have strings as keys, to be saved as JSON, but has {key!r}.")
        return {key: plain_json(item, f"{where}[{key!r}]") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if type(value) in (str, int, bool, type(None)) or (type(value) is float and math.isfinite(value)):
        return value
    raise TypeError(
        f"{where} is {value!r} of type {type(value).__name__}, which plain JSON cannot hold. Write it as "
        "numbers, strings, lists and dictionaries; None for a number that is not finite."
    )


_ADVICE = "Nothing was loaded. Restore the folder from a copy, or train again."


def _serialise(record: dict[str, Any]) -> bytes:
    """The one way to write a record, with a checksum of all the rest at its end."""
    body = json.dumps(record, sort_keys=True, allow_nan=False)
    checksum = hashlib.sha256(body.encode()).hexdigest()
    return (json.dumps({**record, "sha256": checksum}, indent=1, allow_nan=False) + "\n").encode()


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _read(path: Path, largest: int) -> bytes:
    """Read a regular file, which may not be a link, up to one byte more than it is allowed to have."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise CheckpointError(f"{path} is refused: it is not a regular file.")
        with path.open("rb") as file:
            # never more than there is: a size that was only declared is not allocated
            return file.read(min(largest, os.fstat(file.fileno()).st_size) + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CheckpointError(f"there is no saved run in {path.parent}: {path.name} is missing.") from error
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}.") from error
