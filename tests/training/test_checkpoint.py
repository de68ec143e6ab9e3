import json
import os
import socket

import pytest
import torch
from torch import nn

from pyro_dgm.errors import CheckpointError, OutputError
from pyro_dgm.training import check_writable, load_weights, read_config, read_extra, save
from pyro_dgm.training.manifest import MANIFEST, _serialise
from tests.training.toys import same, small_flow, weights

CONFIG = {"flow": "real-nvp", "sizes": [8, 8], "rate": 0.1, "seed": None, "größe": True}


class Net(nn.Module):
    """Buffers, a tied weight, an empty tensor, a scalar and one that is not contiguous."""

    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.first, self.norm = nn.Linear(2, width), nn.BatchNorm1d(width)
        self.second = nn.Linear(width, 2, bias=False)
        self.second.weight = nn.Parameter(self.first.weight.t())
        self.tied = self.first.bias
        self.register_buffer("none", torch.zeros(0, 4))
        self.register_buffer("coarse", torch.tensor(0.1, dtype=torch.bfloat16))


@pytest.fixture
def run(tmp_path):
    torch.manual_seed(1)
    return save(tmp_path / "run", Net(), config=CONFIG, extra={"J_ML": 0.3})


def weights_file(run):
    (file,) = run.glob("*.safetensors")
    return file


def edit(run, change) -> None:
    """Change the manifest as an attacker would, with a valid checksum."""
    record = json.loads((run / MANIFEST).read_text())
    record.pop("sha256")
    change(record)
    (run / MANIFEST).write_bytes(_serialise(record))


def refused(run, message, module=None) -> None:
    module = Net() if module is None else module
    before = weights(module)
    with pytest.raises(CheckpointError, match=message):
        load_weights(run, module)
    assert same(weights(module), before)


@pytest.mark.parametrize("make", [Net, small_flow])
def test_weights_and_buffers_come_back_to_the_bit(make, tmp_path):
    saved, loaded = make(), make()
    with torch.no_grad():
        for tensor in saved.state_dict().values():
            tensor.copy_(torch.randn(tensor.shape))
    load_weights(save(tmp_path, saved), loaded)
    assert same(weights(saved), weights(loaded))


def test_the_configuration_and_results_come_back(run):
    assert read_config(run) == CONFIG
    assert read_extra(run) == {"J_ML": 0.3}


def test_saving_twice_gives_the_same_bytes_and_no_left_overs(run):
    before = {file.name: file.read_bytes() for file in run.iterdir()}
    torch.manual_seed(1)
    save(run, Net(), config=CONFIG, extra={"J_ML": 0.3})
    assert {file.name: file.read_bytes() for file in run.iterdir()} == before
    save(run, Net())
    assert len(list(run.iterdir())) == 2


def test_what_a_killed_process_left_goes_with_the_next_save(run):
    for name in (".weights-1.safetensors.tmp-1-a", ".manifest.json.tmp-1-a", "weights-1.safetensors"):
        (run / name).write_text("half")
    save(run, Net())
    assert len(list(run.iterdir())) == 2


def test_other_files_in_the_folder_stay(run):
    (run / "report.html").write_text("mine")
    save(run, Net())
    assert (run / "report.html").read_text() == "mine"


def test_a_write_that_fails_leaves_the_run_before_it_whole(run, monkeypatch):
    before = read_config(run)
    monkeypatch.setattr(os, "fsync", lambda handle: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(OutputError, match="No space left"):
        save(run, Net(), config={"other": 1})
    monkeypatch.undo()
    load_weights(run, Net())
    assert read_config(run) == before
    assert len(list(run.iterdir())) == 2


@pytest.mark.parametrize("value", [torch.ones(1), {1: 2}, float("nan"), {"a": [object()]}, {"p": os}])
def test_only_plain_json_can_be_a_configuration(value, tmp_path):
    with pytest.raises(TypeError, match="config"):
        save(tmp_path, Net(), config={"value": value})


def test_a_missing_run_says_what_is_missing(tmp_path):
    refused(tmp_path / "nothing", "manifest.json is missing")


def test_a_flip_of_any_byte_is_refused(run):
    for file in sorted(run.iterdir()):
        content = file.read_bytes()
        for position in range(0, len(content), max(1, len(content) // 60)):
            for mask in (1, 0x80):
                damaged = bytearray(content)
                damaged[position] ^= mask
                file.write_bytes(damaged)
                refused(run, "damaged|refused|format|missing")
        file.write_bytes(content)
    load_weights(run, Net())


@pytest.mark.parametrize("name", ["manifest", "weights"])
def test_a_truncated_or_lengthened_file_is_refused(run, name):
    file = run / MANIFEST if name == "manifest" else weights_file(run)
    content = file.read_bytes()
    for changed in (b"", content[:1], content[: len(content) // 2], content[:-1], content + b"\n"):
        file.write_bytes(changed)
        refused(run, "damaged")


def test_missing_weights_are_refused(run):
    weights_file(run).unlink()
    refused(run, "is missing")


def test_a_newer_format_names_both_versions(run):
    edit(run, lambda record: record.update(format=2))
    refused(run, "has format 2, but .* up to 1")


@pytest.mark.parametrize(
    "name", ["../other.safetensors", "/etc/passwd", "a/b", "..", ".hidden", "a\\b", "", 3]
)
def test_a_name_outside_the_folder_is_refused(run, name):
    (run.parent / "other.safetensors").write_bytes(weights_file(run).read_bytes())
    edit(run, lambda record: record["files"]["weights"].update(name=name))
    refused(run, "no plain name")


def test_a_link_out_of_the_folder_is_refused(run):
    file = weights_file(run)
    outside = file.rename(run.parent / "outside")
    file.symlink_to(outside)
    refused(run, "not a regular file")


def test_a_socket_or_folder_in_the_place_of_a_file_is_refused(run):
    weights_file(run).unlink()
    edit(run, lambda record: record["files"]["weights"].update(name="w"))
    with socket.socket(socket.AF_UNIX) as server:
        cwd = os.getcwd()
        os.chdir(run)  # the path of a socket is limited to some 100 characters
        try:
            server.bind("w")
        finally:
            os.chdir(cwd)
        refused(run, "not a regular file")


@pytest.mark.parametrize("size", [10**15, -1, "10", True])
def test_a_size_that_cannot_be_is_refused_before_reading(run, size):
    edit(run, lambda record: record["files"]["weights"].update(size=size))
    refused(run, "another architecture|damaged")


@pytest.mark.parametrize(
    "content", [b"[]", b"null", b"[" * 100_000, b'{"format": 1}', b"\xff\xfe", b"1" * 5000]
)
def test_a_manifest_that_is_none_is_refused(run, content):
    (run / MANIFEST).write_bytes(content)
    refused(run, "damaged")


def test_another_size_lists_the_tensors(run):
    refused(run, r"first\.weight is \(3, 2\) torch\.float32 in the file, but \(4, 2\)", Net(4))


def test_missing_and_surplus_names_are_listed(run):
    module = Net()
    del module.norm
    module.late = nn.Linear(1, 1, bias=False)
    message = r"missing in the file: late\.weight; not in the module: norm\.bias, norm\.num_batches_tracked"
    refused(run, message, module)


def test_another_dtype_is_refused(run):
    refused(run, "torch.float64 in the module", Net().double())


def test_a_folder_that_can_be_written_is_made(tmp_path):
    assert check_writable(tmp_path / "a" / "b").is_dir()
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named_before_training(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    for folder in (file, file / "run", "/proc/run", "/dev/null/run"):
        with pytest.raises(OutputError, match=str(folder)):
            check_writable(folder)
        with pytest.raises(OutputError, match=str(folder)):
            save(folder, Net())
