"""MNIST-like data from idx files written here: torchvision's folders, missing and damaged files."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from pyro_dgm.data import fashion_mnist, mnist
from pyro_dgm.errors import DataError, MissingDataError

CASES = {"mnist": (mnist, "MNIST"), "fashion-mnist": (fashion_mnist, "FashionMNIST")}
SIZES = {"train": 12, "t10k": 5}


def write_idx(path, array):
    header = np.array([0x0800 + array.ndim, *array.shape], dtype=">i4")
    path.write_bytes(header.tobytes() + array.astype(np.uint8).tobytes())


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def stored(request, tmp_path):
    """The function that reads a data set, a root that holds a small one, and the folder of its files."""
    read, folder = request.param
    raw, rng = tmp_path / folder / "raw", np.random.default_rng(0)
    raw.mkdir(parents=True)
    for part, n in SIZES.items():
        write_idx(raw / f"{part}-images-idx3-ubyte", rng.integers(0, 256, (n, 28, 28)))
        write_idx(raw / f"{part}-labels-idx1-ubyte", np.arange(n) % 10)
    return read, tmp_path, raw


def test_images_and_labels_are_those_of_the_files(stored):
    read, root, raw = stored
    images = read(root)
    pixels = np.frombuffer((raw / "train-images-idx3-ubyte").read_bytes()[16:], np.uint8).reshape(
        12, 1, 28, 28
    )
    assert_close(images.train, torch.from_numpy(pixels / 255).float())
    assert images.train.dtype == torch.float32
    assert images.test.shape == (5, 1, 28, 28)
    assert images.train_labels.tolist() == [i % 10 for i in range(12)]
    assert images.test_labels.tolist() == list(range(5))
    assert images.name == next(name for name, (function, _) in CASES.items() if function is read)


def test_binarisation_is_part_of_the_name(stored):
    read, root, _ = stored
    images = read(root, binarize="fixed", seed=3)
    assert images.name.endswith("(binarized once, seed 3)")
    assert set(images.train.unique().tolist()) == {0.0, 1.0}


def test_no_root_says_how_to_give_one(stored):
    read, _, _ = stored
    with pytest.raises(MissingDataError, match=r"--data-root DIR.*--download"):
        read()


def test_a_missing_folder_or_file_is_named(stored):
    read, root, raw = stored
    with pytest.raises(MissingDataError, match=r"elsewhere.*--data-root DIR.*--download"):
        read(root / "elsewhere")
    (raw / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(MissingDataError, match="no t10k-labels-idx1-ubyte in"):
        read(root)


@pytest.mark.parametrize(
    "damage", ["truncated", "empty", "text", "other shape", "too few labels", "label 99"]
)
def test_a_damaged_file_is_named(stored, damage):
    read, root, raw = stored
    images, labels = raw / "train-images-idx3-ubyte", raw / "train-labels-idx1-ubyte"
    if damage in ("truncated", "empty", "text"):
        whole = images.read_bytes()
        images.write_bytes({"truncated": whole[:-100], "empty": b"", "text": b"<html>404</html>"}[damage])
    elif damage == "other shape":
        write_idx(images, np.zeros((12, 20, 20)))
    else:
        write_idx(labels, np.zeros(3) if damage == "too few labels" else np.full(12, 99))
    with pytest.raises(DataError, match=r"train-\* in .* is damaged.*--download"):
        read(root)


def test_a_download_that_fails_says_so(stored, monkeypatch):
    from torchvision import datasets

    read, root, _ = stored

    def offline(self):
        raise RuntimeError("Error downloading train-images-idx3-ubyte.gz")

    monkeypatch.setattr(datasets.MNIST, "download", offline)
    with pytest.raises(MissingDataError, match="could not be downloaded to"):
        read(root / "new", download=True)


def test_a_root_that_cannot_be_written_says_so(stored):
    read, root, _ = stored
    (root / "file").touch()
    with pytest.raises(MissingDataError, match="cannot read or write"):
        read(root / "file", download=True)
