"""Two processes under the launchers: the same weights as one, and an end to every fault."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.distributed.job import numbers, train
from tests.training.families import FAMILIES

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


def launched(launcher, folder, what, seconds=180):
    """Run the job on two processes; return what it was and how many seconds it took."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    torchrun = ["torch.distributed.run", "--nproc-per-node", "2", "--master-port", port]
    accelerate = ["accelerate.commands.launch", "--cpu", "--num_processes", "2", "--main_process_port", port]
    accelerate += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    chosen = {"torchrun": [*torchrun, "-m"], "accelerate": [*accelerate, "-m"]}[launcher]
    command = [sys.executable, "-m", *chosen, "tests.distributed.job", str(folder), what]
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    start = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=ROOT, timeout=seconds)
    return done, time.monotonic() - start


def seconds_since_the_fault(folder):
    return time.time() - float((folder / "1").read_text())


@pytest.mark.parametrize("launcher", ["torchrun", "accelerate"])
def test_two_processes_train_what_one_does(launcher, tmp_path):
    done, _ = launched(launcher, tmp_path, "weights")
    assert done.returncode == 0, done.stderr[-2000:]
    for family in FAMILIES:
        for dtype, bar in ((torch.float64, 1e-9), (torch.float32, 1e-6)):
            both = torch.load(tmp_path / f"{family}-{dtype}.pt", weights_only=True)
            for one, two in zip(numbers(train(family, dtype)), both, strict=True):
                torch.testing.assert_close(two, one, rtol=0, atol=bar)


def test_a_job_that_was_left_is_resumed_to_the_same_weights(tmp_path):
    for _ in range(2):
        done, _ = launched("torchrun", tmp_path, "resumed")
        assert done.returncode == 0, done.stderr[-2000:]
    resumed = torch.load(tmp_path / "resumed.pt", weights_only=True)
    for one, two in zip(numbers(train("vae", torch.float64)), resumed, strict=True):
        torch.testing.assert_close(two, one, rtol=0, atol=1e-9)
    assert [p.name for p in sorted((tmp_path / "run").iterdir())] == ["step-0000000008", "step-0000000020"]


@pytest.mark.parametrize(
    ("kind", "bar", "message"),
    [
        ("killed", 30, "Signal 9"),
        ("raising", 30, "the second process has raised this"),
        ("hung", 30, "Timed out"),  # the timeout is 20 seconds
    ],
)
def test_a_fault_of_one_process_ends_the_job_with_its_message(kind, bar, message, tmp_path):
    done, _ = launched("torchrun", tmp_path, kind)
    assert seconds_since_the_fault(tmp_path) <= bar + 5  # and the launcher's own end
    assert done.returncode != 0
    assert message in done.stderr


def test_processes_that_begin_with_other_weights_are_refused(tmp_path):
    done, _ = launched("torchrun", tmp_path, "other weights")
    assert done.returncode != 0
    assert "the processes would train different things, weights" in done.stderr
