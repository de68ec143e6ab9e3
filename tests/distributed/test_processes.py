"""Two processes under the launchers: the same weights as one, and an end to every fault."""

import time

import pytest
import torch

from tests.distributed.job import OBJECTIVES, numbers, train
from tests.distributed.launching import launched, launched_on_two_nodes

pytestmark = pytest.mark.slow


def seconds_since_the_fault(folder):
    return time.time() - float((folder / "1").read_text())


@pytest.mark.parametrize("launcher", ["torchrun", "accelerate"])
def test_two_processes_train_what_one_does(launcher, tmp_path):
    done, _ = launched(launcher, tmp_path, "weights")
    assert done.returncode == 0, done.stderr[-2000:]
    for family in OBJECTIVES:
        for dtype, bar in ((torch.float64, 1e-9), (torch.float32, 1e-6)):
            both = torch.load(tmp_path / f"{family}-{dtype}.pt", weights_only=True)
            for one, two in zip(numbers(train(family, dtype)), both, strict=True):
                torch.testing.assert_close(two, one, rtol=0, atol=bar)
    accumulated = torch.load(tmp_path / "accumulated.pt", weights_only=True)
    for one, two in zip(numbers(train("vae", torch.float64)), accumulated, strict=True):
        torch.testing.assert_close(two, one, rtol=0, atol=1e-9)


def test_a_process_killed_on_one_of_two_nodes_is_started_anew_and_the_run_goes_on(tmp_path):
    nodes = launched_on_two_nodes(tmp_path, "killed once")
    assert [node.returncode for node in nodes] == [0, 0], [node.stderr[-2000:] for node in nodes]
    assert (tmp_path / "killed").exists()
    resumed = torch.load(tmp_path / "resumed.pt", weights_only=True)
    for one, two in zip(numbers(train("vae", torch.float64)), resumed, strict=True):
        torch.testing.assert_close(two, one, rtol=0, atol=1e-9)


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


def test_processes_end_in_order_while_their_threads_still_send(tmp_path):
    done, _ = launched("torchrun", tmp_path, "left in the air")
    assert done.returncode == 0, done.stderr[-2000:]


def test_processes_that_begin_with_other_weights_are_refused(tmp_path):
    done, _ = launched("torchrun", tmp_path, "other weights")
    assert done.returncode != 0
    assert "the processes would train different things, weights" in done.stderr
