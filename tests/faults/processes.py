"""Training runs in processes of their own, to be killed. They are forked, and so begin at once."""

import hashlib
import multiprocessing
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from pyro_dgm.training import fit
from tests.training.families import FAMILIES, numbers, rows

STEPS = 150  # a second or two, so that none ends before it is killed


def start(target: Callable[..., None], *args: Any) -> multiprocessing.process.BaseProcess:
    """Begin ``target(*args)`` in another process."""
    process = multiprocessing.get_context("fork").Process(target=target, args=args, daemon=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*multi-threaded", category=DeprecationWarning)
        process.start()
    return process


def train(family: str, folder: Path, every: int | None, **options: Any) -> str:
    """Train one of the families with checkpoints, and return the SHA-256 of its weights."""
    torch.set_num_threads(1)
    objective = FAMILIES[family]()
    options = {"steps": STEPS, "batch_size": 16, "progress": False, "validation": rows(9)} | options
    fit(objective, rows(), checkpoint=folder, resume=True, every=every, **options)
    digest = hashlib.sha256()
    for tensor in numbers(objective):
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def train_and_tell(family: str, folder: Path, every: int | None, result: Path) -> None:
    """Train, and write the checksum of the weights into a file at the end."""
    checksum = train(family, folder, every)
    result.write_text(checksum)


def train_without_end(family: str, folder: Path, pause: float, sign: Path) -> None:
    """Train until something else ends it; each step takes ``pause`` seconds and is noted in ``sign``."""
    import time

    def on_step(state: Any) -> None:
        sign.write_text(f"{os.getpid()} {state.step}")
        time.sleep(pause)

    train(family, folder, None, steps=10**6, callbacks=[on_step])


def train_into_a_lock(family: str, folder: Path, sign: Path) -> None:
    """Train until a step waits inside C for a lock that is never released, as for a process that is gone."""
    import ctypes

    lock = ctypes.CDLL(None).pthread_mutex_lock

    def on_step(state: Any) -> None:
        mutex = ctypes.create_string_buffer(64)
        lock(mutex)
        sign.write_text(f"{os.getpid()} {state.step}")
        lock(mutex)

    train(family, folder, None, steps=10**6, callbacks=[on_step])


def leftovers(folder: Path) -> list[str]:
    """Temporary files, and checkpoints without a manifest."""
    temporary = [str(path) for path in folder.rglob(".*")]
    return temporary + [str(p) for p in folder.glob("step-*") if not (p / "manifest.json").exists()]
