"""Files made to harm: sizes that are lies, keys that come twice, numbers that are none, and links."""

import ast
import hashlib
import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from pyro_dgm import recipes
from pyro_dgm.errors import CheckpointError, OutputError, PyroDGMError
from pyro_dgm.training import CSVLog, fit, latest_checkpoint, load_weights, read_checkpoint, save
from pyro_dgm.training.checkpoint import write_run
from pyro_dgm.training.manifest import MANIFEST, _serialise
from pyro_dgm.training.state_tree import flatten
from tests.training.families import FAMILIES, flow, numbers, rows
from tests.training.toys import same

OPTIONS = {"steps": 3, "batch_size": 16, "progress": False}


@pytest.fixture
def run(tmp_path):
    fit(flow(), rows(), checkpoint=tmp_path / "run", **OPTIONS)
    return latest_checkpoint(tmp_path / "run")


def everything_below(folder):
    files = [p for p in sorted(folder.rglob("*")) if p.is_file()]
    return {str(p.relative_to(folder)): (p.stat().st_size, beginning(p)) for p in files}


def beginning(path):
    with path.open("rb") as file:
        return file.read(2**20)


def rewritten(run, change):
    record = json.loads((run / MANIFEST).read_text())
    record.pop("sha256")
    change(record)
    (run / MANIFEST).write_bytes(_serialise(record))


def replaced(run, role, content):
    """Put content in the place of a file, with a checksum and a size that are right."""
    next(run.glob(f"{role}*")).write_bytes(content)
    entry = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    rewritten(run, lambda record: record["files"][role].update(entry))


def refused(run, match=None):
    """The run cannot be taken up, and trying it changes nothing."""
    before, other = everything_below(run.parent), flow(seed=1)
    with pytest.raises(CheckpointError, match=match):
        fit(other, rows(), checkpoint=run.parent, resume="force", **OPTIONS)
    assert same(numbers(other), numbers(flow(seed=1)))
    assert everything_below(run.parent) == before


def tensors_file(header, body=b""):
    text = json.dumps(header).encode() if isinstance(header, dict) else header
    return struct.pack("<Q", len(text)) + text + body


TINY = {"dtype": "F64", "shape": [1], "data_offsets": [0, 8]}
BOMBS = {
    "a header of 2^63 bytes": struct.pack("<Q", 2**63) + b"{}",
    "a header longer than the file": struct.pack("<Q", 1000) + b"{}",
    "a tensor of a petabyte": tensors_file({"x": {**TINY, "shape": [2**47]}}, bytes(8)),
    "sizes whose product overflows": tensors_file({"x": {**TINY, "shape": [2**33, 2**33]}}, bytes(8)),
    "a negative size": tensors_file({"x": {**TINY, "shape": [-1]}}, bytes(8)),
    "a tensor beyond the end": tensors_file({"x": {**TINY, "data_offsets": [0, 2**40]}}, bytes(8)),
    "an end before the beginning": tensors_file({"x": {**TINY, "data_offsets": [8, 0]}}, bytes(8)),
    "tensors over one another": tensors_file({"x": TINY, "y": TINY}, bytes(8)),
    "a dtype that is none": tensors_file({"x": {**TINY, "dtype": "__import__('os')"}}, bytes(8)),
    "the same name twice": tensors_file(b'{"x": %s, "x": %s}' % ((json.dumps(TINY).encode(),) * 2), bytes(8)),
    "deep nests": tensors_file(b'{"x": ' * 5000 + b"1" + b"}" * 5000),
    "a name that leaves the folder": tensors_file({"../../x": TINY}, bytes(8)),
    "text that is none": tensors_file(b"\xff\xfe{}"),
    "nothing": b"",
}


@pytest.mark.parametrize("role", ["weights", "state"])
@pytest.mark.parametrize("content", BOMBS.values(), ids=BOMBS)
def test_a_file_of_tensors_that_lies_is_refused_with_a_right_checksum(role, content, run):
    replaced(run, role, content)
    refused(run)
    if role == "weights":
        model = flow(seed=1).model
        with pytest.raises(CheckpointError):
            load_weights(run, model)


def test_a_state_of_a_terabyte_is_refused_before_it_is_read(run):
    with next(run.glob("state*")).open("wb") as file:
        file.truncate(2**40)  # a file with a hole takes no place on the disk
    rewritten(run, lambda record: record["files"]["state"].update(size=2**40))
    refused(run, "more than the state")


@pytest.mark.parametrize("role", ["weights", "state"])
def test_a_size_that_is_only_declared_is_not_allocated(role, run):
    rewritten(run, lambda record: record["files"][role].update(size=2**29 if role == "state" else 9000))
    refused(run, "damaged")


@pytest.mark.parametrize(
    "text",
    [
        b'{"format": 1, "format": 1, "files": {}, "sha256": ""}',
        b'{"format": NaN}',
        b'{"format": 1, "files": {}, "config": {"lr": NaN}, "extra": {}, "versions": {}, "sha256": "x"}',
        b'{"format": 1, "files": {}, "config": {"lr": Infinity}, "sha256": "x"}',
        b'{"format": 1, "config": ' + b"[" * 900 + b"]" * 900 + b', "sha256": "x"}',
        b'{"format": 1, "config": "\\ud800", "sha256": "x"}',
        b'{"format": 1e400}',
        b'{"format": 99999999999999999999, "versions": 3}',
        b'{"format": true, "files": {}}',
        b'"format"',
        b"",
    ],
)
def test_a_manifest_of_odd_json_is_refused(text, run):
    (run / MANIFEST).write_bytes(text)
    refused(run)


def test_a_key_that_comes_twice_does_not_hide_behind_the_checksum(run):
    text = (run / MANIFEST).read_text()
    (run / MANIFEST).write_text(
        text.replace('"config": {', '"config": {"seed": 9,', 1).replace("{", '{"format": 1,', 1)
    )
    refused(run, "damaged")


@pytest.mark.parametrize(
    "change",
    [
        lambda record: record.update(versions={"torch": 2}),
        lambda record: record.update(files=[]),
        lambda record: record.update(files={"weights": {"name": "w", "size": 1}}),
        lambda record: record["files"]["weights"].update(name="/etc/passwd"),
        lambda record: record["files"]["state"].update(name="../../../../tmp/x"),
        lambda record: record["files"]["state"].update(sha256=None),
        lambda record: record.update(surplus=1),
        lambda record: record["extra"].update(state=deep(300)),
        lambda record: record.update(config=[]),
    ],
)
def test_a_manifest_that_is_checksummed_and_wrong_is_refused(change, run):
    rewritten(run, change)
    refused(run)


def deep(levels):
    tree = 1
    for _ in range(levels):
        tree = {"tuple": [tree]}
    return tree


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("part", ["callbacks", "random"])
def test_a_state_that_fails_late_leaves_weights_and_optimiser_as_they_were(part, family, tmp_path):
    fit(FAMILIES[family](), rows(), checkpoint=tmp_path, **OPTIONS)
    run = latest_checkpoint(tmp_path)
    model = FAMILIES[family]().model
    manifest, state = read_checkpoint(run, model)
    state[part] = {"no": "state"} if part != "random" else [torch.zeros(3, dtype=torch.uint8)]
    plain, tensors = flatten(state)
    write_run(
        run, {"weights": model.state_dict(), "state": tensors}, config=manifest.config, extra={"state": plain}
    )
    other = FAMILIES[family](seed=1)
    with pytest.raises(CheckpointError):
        fit(other, rows(), checkpoint=tmp_path, resume="force", **OPTIONS)
    assert same(numbers(other), numbers(FAMILIES[family](seed=1)))


@pytest.mark.parametrize("name", ["step-0000000003", "best"])
def test_nothing_is_written_through_a_link_in_the_folder_of_checkpoints(name, tmp_path):
    outside, folder = tmp_path / "outside", tmp_path / "run"
    save(outside, torch.nn.Linear(1, 1))
    before = everything_below(outside)
    folder.mkdir()
    (folder / name).symlink_to(outside)
    with pytest.raises(OutputError, match="is a link"):
        fit(flow(), rows(), checkpoint=folder, validation=rows(9), validate_every=3, **OPTIONS)
    assert everything_below(outside) == before


def test_a_folder_that_is_itself_a_link_is_the_users_choice(tmp_path):
    (tmp_path / "large disk").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "large disk")
    fit(flow(), rows(), checkpoint=tmp_path / "run", **OPTIONS)
    again = flow(seed=1)
    fit(again, rows(), checkpoint=tmp_path / "run", resume=True, **OPTIONS)
    assert latest_checkpoint(tmp_path / "large disk") is not None


@pytest.mark.parametrize(
    "config",
    [
        {"recipe": "real-nvp", "event_shape": [10**12], "options": {}},
        {"recipe": "real-nvp", "event_shape": [2], "options": {"hidden_dims": [60_000] * 8}},
        {"recipe": "real-nvp", "event_shape": [2], "options": {"num_layers": 10**15}},
        {"recipe": "vae", "event_shape": [1, 8, 8], "options": {"latent_dim": 10**11}},
        {"recipe": "real-nvp", "event_shape": {"a": 1}, "options": {}},
        {"recipe": "real-nvp", "event_shape": [2], "options": []},
        {"recipe": ["real-nvp"], "event_shape": [2], "options": {}},
        {"recipe": "real-nvp", "event_shape": [-2], "options": {}},
        {"recipe": "real-nvp", "event_shape": [], "options": {}},
    ],
)
def test_a_model_that_is_described_larger_than_its_weights_is_not_built(config, tmp_path):
    save(tmp_path, torch.nn.Linear(1, 1), config=config)
    with pytest.raises(CheckpointError):
        recipes.load_run(tmp_path)


@pytest.mark.parametrize(
    "source",
    [
        {"name": "mnist", "options": {"root": "OUT", "download": True}},
        {"name": "mnist", "options": {"root": "OUT"}},
        {"name": "moons", "options": {"noise": "x"}},
        {"name": "moons", "options": {"no_such": 1}},
        {"name": "moons", "options": 3},
        {"name": "os.system"},
        3,
    ],
)
def test_data_that_a_run_names_are_looked_up_and_never_fetched(source, tmp_path):
    outside = tmp_path / "outside"
    if isinstance(source, dict) and isinstance(source.get("options"), dict) and "root" in source["options"]:
        source = {**source, "options": {**source["options"], "root": str(outside)}}
    with pytest.raises((PyroDGMError, TypeError)):
        recipes.load_data({"data": source})
    assert not outside.exists()


@pytest.mark.parametrize("content", [b"\x80\x04\x95", b"step,loss\nx,\xff\n", b"\x00" * 64])
def test_a_log_that_is_no_text_is_refused_and_left(content, tmp_path):
    path = tmp_path / "log.csv"
    path.write_bytes(content)
    with pytest.raises(OutputError, match=r"log\.csv"):
        fit(flow(), rows(), callbacks=[CSVLog(path)], **OPTIONS)
    assert path.read_bytes() == content


@pytest.mark.parametrize("content", [b"", b"a,b,c\n" * 3, b"step,loss\n9,1.0\n"])
def test_a_log_of_something_else_gives_way_to_this_run(content, tmp_path):
    path = tmp_path / "log.csv"
    path.write_bytes(content)
    fit(flow(), rows(), callbacks=[CSVLog(path)], **OPTIONS)
    lines = path.read_text().splitlines()
    assert lines[0].startswith("step,loss")
    assert len(lines) == 4


def test_an_array_of_objects_on_the_disk_does_not_become_data(tmp_path):
    marker = tmp_path / "marker"

    class Bomb:
        def __reduce__(self):
            return (open, (str(marker), "w"))

    np.save(tmp_path / "x.npy", np.array([Bomb()]), allow_pickle=True)
    with pytest.raises(TypeError, match="read the file first"):
        fit(flow(), tmp_path / "x.npy", **OPTIONS)
    assert not marker.exists()


FORBIDDEN = {
    "pickle.load",
    "pickle.loads",
    "torch.load",
    "eval",
    "exec",
    "compile",
    "__import__",
    "marshal.loads",
}
# its own bytes, made a line before; and no file
OWN_BYTES = {"pyro_dgm/training/model_checks.py"}


def dotted(node):
    return f"{dotted(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def test_no_line_of_the_library_unpickles_or_evaluates():
    root = Path(__file__).parents[2]
    found = []
    for path in [p for folder in ("pyro_dgm", "models", "guides") for p in (root / folder).rglob("*.py")]:
        if str(path.relative_to(root)) in OWN_BYTES:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and dotted(node.func) in FORBIDDEN:
                found.append(f"{path}:{node.lineno} {dotted(node.func)}")
            if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                assert getattr(node.value, "value", True) is False, f"{path}: allow_pickle"
    assert found == []
