"""Files that are either complete or not there, whenever the process is killed."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile

from pyro_dgm.errors import OutputError

__all__ = ["alone_in", "check_writable", "remove_leftovers", "sync_folder", "write_atomically"]


def check_writable(folder: str | os.PathLike[str]) -> Path:
    """Make sure that files can be written into a folder, which is made if it does not exist.

    Call it before work whose result is to be saved there.

    Raises:
        OutputError: If the folder cannot be made or written to; the message names it and says why.

    Example:
        >>> import tempfile
        >>> check_writable(tempfile.mkdtemp()).is_dir()
        True
    """
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=path) as probe:
            probe.write(b"probe")
    except OSError as error:
        raise _unwritable(path, error) from error
    return path


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file under a temporary name beside it, force it to the disk, and give it its name.

    A reader finds the old content or the new one, never a part. What fails leaves no temporary file behind.

    Raises:
        OutputError: If it cannot be written.
    """
    temporary = _temporary(path)
    try:
        try:
            with temporary.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
    except OSError as error:
        raise _unwritable(path, error) from error


@contextmanager
def alone_in(folder: Path) -> Iterator[bool]:
    """Wait until no other process writes to a folder, and hold the others off; says whether it could.

    It is the operating system's lock on the folder itself, which ends with the process, however it ends.
    """
    try:
        import fcntl

        handle = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):  # not a POSIX system
        yield False
        return
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            locked = True
        except OSError:  # a file system without locks
            locked = False
        yield locked
    finally:
        os.close(handle)


def remove_leftovers(folder: Path, name: str) -> None:
    """Remove what processes that were killed while writing ``name`` have left. Only while alone there."""
    for leftover in folder.glob(f".{name}.tmp-*"):
        leftover.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Force the names in a folder to the disk, where the system can."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.tmp-{os.getpid()}-{secrets.token_hex(4)}")


def _unwritable(path: Path, error: OSError) -> OutputError:
    reason = error.strerror or str(error)
    return OutputError(
        f"cannot write to {path}: {reason}{_space(path)}. Choose another folder for the output."
    )


def _space(path: Path) -> str:
    """The free space of the disk, if it may be why."""
    for parent in (path, *path.parents):
        try:
            free = shutil.disk_usage(parent).free
        except OSError:
            continue
        return f" (free space there: {free / 1e9:.1f} GB)" if free < 1e9 else ""
    return ""
