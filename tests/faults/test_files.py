"""Files that somebody else made: nothing in them runs, and nothing outside the folder is touched."""

import json
import pickle

import numpy as np
import pytest
import torch

from pyro_dgm import recipes
from pyro_dgm.errors import CheckpointError, DataError, OutputError
from pyro_dgm.training import fit, latest_checkpoint, load_weights, read_checkpoint, save
from pyro_dgm.training.checkpoint import write_run
from pyro_dgm.training.manifest import MANIFEST, _serialise
from pyro_dgm.training.state_tree import flatten, unflatten
from tests.training.families import flow, numbers, rows
from tests.training.toys import Mean, same

OPTIONS = {"steps": 3, "batch_size": 16, "progress": False}


class Bomb:
    """Writes a marker when it is unpickled."""

    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return (open, (self.marker, "w"))


@pytest.fixture
def run(tmp_path):
    fit(flow(), rows(), checkpoint=tmp_path / "run", **OPTIONS)
    return latest_checkpoint(tmp_path / "run")


def bombs(marker):
    yield pickle.dumps(Bomb(marker))
    torch.save({"weights": Bomb(marker)}, path := marker.with_suffix(".pt"))
    yield path.read_bytes()
    np.save(path := marker.with_suffix(".npy"), np.array([Bomb(marker)]), allow_pickle=True)
    yield path.read_bytes()


def rewritten(run, change):
    """Change the manifest as an attacker would, with a checksum that is right."""
    record = json.loads((run / MANIFEST).read_text())
    record.pop("sha256")
    change(record)
    (run / MANIFEST).write_bytes(_serialise(record))


def entry_of(content):
    import hashlib

    return {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


@pytest.mark.parametrize("role", ["weights", "state", "manifest"])
def test_a_pickle_in_the_place_of_any_file_is_refused_and_does_not_run(role, run, tmp_path):
    marker = tmp_path / "marker"
    for payload in bombs(marker):
        path = next(run.glob(f"{role}*"))
        before = path.read_bytes(), (run / MANIFEST).read_bytes()
        path.write_bytes(payload)
        if role != "manifest":  # and its checksum is right
            entry = entry_of(payload)
            rewritten(run, lambda record, entry=entry: record["files"][role].update(entry))
        other = flow(seed=1)
        with pytest.raises(CheckpointError):
            fit(other, rows(), checkpoint=run.parent, resume=True, **OPTIONS)
        if role != "state":  # weights alone do not need it
            with pytest.raises(CheckpointError):
                load_weights(run, other.model)
        assert not marker.exists()
        assert same(numbers(other), numbers(flow(seed=1)))
        path.write_bytes(before[0])
        (run / MANIFEST).write_bytes(before[1])


@pytest.mark.parametrize(
    "name", ["os.system", "pyro_dgm.recipes.get", "__import__", "builtins.eval", "real-nvp; import os"]
)
def test_a_name_in_a_file_is_looked_up_in_a_table_and_never_imported(name, tmp_path):
    config = {"recipe": name, "event_shape": [2], "options": {}}
    save(tmp_path, torch.nn.Linear(1, 1), config=config)
    with pytest.raises(CheckpointError, match="cannot be built"):
        recipes.load_run(tmp_path)


@pytest.mark.parametrize(
    "state",
    [
        3,
        [],
        {"dict": 3},
        {"dict": [[1]]},
        {"tensor": "no-such"},
        {"tensor": ["x"]},
        {"eval": "1"},
        {"float": "__import__('os')"},
        {"dict": [["step", 1]], "tuple": []},
        {"dict": [[[1], 2]]},
        {"dict": [["step", "x"], ["learner", None]]},
    ],
)
def test_a_state_that_is_none_is_refused_and_changes_nothing(state, run):
    rewritten(run, lambda record: record["extra"].update(state=state))
    other = flow(seed=1)
    with pytest.raises(CheckpointError):
        fit(other, rows(), checkpoint=run.parent, resume=True, **OPTIONS)
    assert same(numbers(other), numbers(flow(seed=1)))


@pytest.mark.parametrize("part", ["learner", "history", "random", "callbacks", "source", "step", "values"])
def test_a_state_without_one_of_its_parts_is_refused(part, run):
    manifest, state = read_checkpoint(run, flow().model)
    del state[part]
    plain, tensors = flatten(state)
    weights = flow().model.state_dict()
    write_run(run, {"weights": weights, "state": tensors}, config=manifest.config, extra={"state": plain})
    with pytest.raises(CheckpointError, match="cannot be taken up"):
        fit(flow(), rows(), checkpoint=run.parent, resume=True, **OPTIONS)


def test_what_cannot_be_stored_is_said_with_its_place():
    with pytest.raises(TypeError, match=r"a set at state\.a\[1\]"):
        flatten({"a": [1, {2}]})
    with pytest.raises(TypeError, match="key"):
        flatten({(1, 2): 3})


def test_numbers_that_are_not_finite_and_nests_come_back():
    tree = {"a": [float("nan"), float("inf"), -1e300, (1, None, "x")], 3: {"t": torch.ones(2)}, "b": True}
    back = unflatten(*flatten(tree))
    assert back["a"][0] != back["a"][0]
    assert back["a"][1:] == tree["a"][1:]
    assert torch.equal(back[3]["t"], torch.ones(2))
    assert back["b"] is True


def test_tied_weights_are_stored_once():
    tensor = torch.ones(3)
    _, tensors = flatten({"a": tensor, "b": tensor.detach(), "c": torch.ones(3)})
    assert len(tensors) == 2


def test_a_disk_that_is_full_is_a_warning_while_training_and_an_error_at_its_end(tmp_path, monkeypatch):
    from pyro_dgm.training import atomic

    def full(handle):
        raise OSError(28, "No space left on device")

    objective, whole = flow(), flow()
    fit(whole, rows(), **OPTIONS)

    def fill(state):
        if state.step == 2:
            monkeypatch.setattr(atomic.os, "fsync", full)

    with (
        pytest.warns(RuntimeWarning, match=r"no checkpoint was written after step [23].*No space left"),
        pytest.raises(OutputError, match="No space left"),
    ):
        fit(objective, rows(), checkpoint=tmp_path, every=1, callbacks=[fill], **OPTIONS)
    monkeypatch.undo()
    assert same(numbers(objective), numbers(whole))  # training went on
    assert [path.name for path in tmp_path.iterdir()] == ["step-0000000001"]  # and the last one is whole
    assert not list(tmp_path.rglob(".*"))
    again = flow()
    fit(again, rows(), checkpoint=tmp_path, resume=True, callbacks=[lambda state: None], **OPTIONS)
    assert same(numbers(again), numbers(whole))


def test_a_device_in_the_place_of_the_folder_is_refused_before_training():
    for folder in ("/dev/full", "/dev/null", "/proc/run"):
        loss = Mean()
        with pytest.raises(OutputError, match=folder):
            fit(loss, rows(), checkpoint=folder, **OPTIONS)
        assert loss.batches == []


def test_a_newer_format_is_refused_and_another_torch_is_a_warning(run):
    rewritten(run, lambda record: record["versions"].update(torch="1.9.0"))
    with pytest.warns(UserWarning, match=r"saved by torch 1\.9\.0"):
        read_checkpoint(run, flow().model)
    rewritten(run, lambda record: record.update(format=99))
    with pytest.raises(CheckpointError, match="format 99"):
        read_checkpoint(run, flow().model)


def test_a_link_in_the_place_of_a_checkpoint_is_not_followed(run, tmp_path):
    outside = run.rename(tmp_path / "outside")
    (run.parent / "step-0000000009").symlink_to(outside)
    assert latest_checkpoint(run.parent) is None


def test_the_same_folder_from_two_runs_holds_a_whole_checkpoint(tmp_path):
    import threading

    modules = [torch.nn.Linear(50, 50) for _ in range(2)]

    def write(module):
        for _ in range(10):
            save(tmp_path, module)

    threads = [threading.Thread(target=write, args=(module,)) for module in modules]
    for thread in threads:
        thread.start()
    seen = []
    while any(thread.is_alive() for thread in threads):
        if (tmp_path / MANIFEST).exists():
            load_weights(tmp_path, reader := torch.nn.Linear(50, 50))
            seen.append(reader.weight.detach().clone())
    for thread in threads:
        thread.join()
    assert all(any(torch.equal(own, m.weight) for m in modules) for own in seen)


def test_data_of_objects_are_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.array([Bomb(tmp_path / "marker")]), allow_pickle=True)
    with pytest.raises((DataError, TypeError)):
        fit(flow(), np.array([object()] * 4), **OPTIONS)
