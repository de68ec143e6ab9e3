"""A training run is killed, by SIGKILL at any moment or by SIGTERM and Ctrl-C, and called again."""

import os
import random
import signal
import time

import pytest

from pyro_dgm.training import latest_checkpoint
from pyro_dgm.training.manifest import read_manifest
from tests.faults.processes import (
    leftovers,
    start,
    train,
    train_and_tell,
    train_into_a_lock,
    train_without_end,
)
from tests.training.families import FAMILIES


def wait_until(condition, process, seconds=60.0):
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit
        assert process.is_alive()
        time.sleep(0.0005)


def writes(folder):
    try:
        return any(folder.rglob(".*.tmp-*"))
    except FileNotFoundError:  # a checkpoint was renamed, or an old one removed, under our eyes
        return False


def killed_in_a_write(process, folder):
    wait_until(lambda: writes(folder), process)
    process.kill()
    process.join()


def resumed_after_kills(family, folder, kills, chance):
    """Kill the run ``kills`` times, every second time in a write, and let it end; return its checksum."""
    result = folder.with_suffix(".sha256")
    for number in range(kills):
        process = start(train_and_tell, family, folder, 1, result)
        wait_until(lambda: any(folder.glob("*")) or result.exists(), process)
        if number % 2:
            killed_in_a_write(process, folder)
        else:
            process.join(timeout=chance.uniform(0, 0.15))
            process.kill()
            process.join()
        assert not result.exists(), "the run ended before it was killed: make it longer"
    process = start(train_and_tell, family, folder, 1, result)
    process.join(timeout=120)
    assert process.exitcode == 0
    return result.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_a_run_killed_twice_ends_with_the_weights_of_one_that_was_not(family, tmp_path):
    expected = train(family, tmp_path / "whole", None)
    assert resumed_after_kills(family, tmp_path / "run", 2, random.Random(0)) == expected
    assert leftovers(tmp_path / "run") == []


@pytest.mark.soak
@pytest.mark.parametrize("family", FAMILIES)
def test_a_run_killed_at_twenty_moments_ends_with_the_weights_of_one_that_was_not(family, tmp_path):
    expected = train(family, tmp_path / "whole", None)
    chance = random.Random(family)
    for attempt in range(4):  # five kills for each run of some seconds
        folder = tmp_path / f"run{attempt}"
        assert resumed_after_kills(family, folder, 5, chance) == expected
        assert leftovers(folder) == []


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 0)])
def test_a_signal_ends_the_step_saves_and_leaves(number, code, tmp_path):
    folder, sign = tmp_path / "run", tmp_path / "sign"
    process = start(train_without_end, "flow", folder, 0.1, sign)
    wait_until(lambda: sign.exists() and sign.read_text().endswith(" 3"), process)
    begun = time.monotonic()
    os.kill(process.pid, number)
    process.join(timeout=20)
    assert process.exitcode == code
    assert time.monotonic() - begun < 10
    assert read_manifest(latest_checkpoint(folder)).config["seed"] == 0
    assert int(latest_checkpoint(folder).name.removeprefix("step-")) >= 3
    assert leftovers(folder) == []


@pytest.mark.slow
def test_a_step_that_does_not_end_is_left_after_the_grace_time(tmp_path):
    folder, sign = tmp_path / "run", tmp_path / "sign"
    process = start(train_without_end, "flow", folder, 600.0, sign)
    wait_until(sign.exists, process)
    os.kill(process.pid, signal.SIGTERM)
    process.join(timeout=20)
    assert process.exitcode == 143


@pytest.mark.slow
def test_a_step_that_waits_inside_a_library_is_left_after_the_grace_time(tmp_path):
    folder, sign = tmp_path / "run", tmp_path / "sign"
    process = start(train_into_a_lock, "flow", folder, sign)
    wait_until(sign.exists, process)
    time.sleep(0.5)
    os.kill(process.pid, signal.SIGTERM)
    process.join(timeout=60)
    assert process.exitcode == 143
