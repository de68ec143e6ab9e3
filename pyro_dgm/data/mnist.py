"""MNIST and Fashion-MNIST, read from torchvision's folders."""

from __future__ import annotations

import socket
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from pyro_dgm.data.images import Binarization, ImageData, image_data
from pyro_dgm.errors import DataError, MissingDataError

__all__ = ["fashion_mnist", "mnist"]

_FILES = tuple(
    f"{part}-{what}-ubyte" for part in ("train", "t10k") for what in ("images-idx3", "labels-idx1")
)
# torchvision's, on a damaged file or archive
_READER_ERRORS = (AssertionError, ValueError, IndexError, KeyError, EOFError, zlib.error)


def mnist(
    root: str | Path | None = None,
    *,
    download: bool = False,
    binarize: Binarization | None = None,
    seed: int = 0,
) -> ImageData:
    """MNIST: 60 000 training and 10 000 test images of handwritten digits, 28 x 28.

    Args:
        root: The folder that holds ``MNIST/raw/train-images-idx3-ubyte`` and its three companions, as
            torchvision writes them.
        download: Whether to fetch missing files into ``root``. Each is compared with its known checksum.
        binarize: How to make the images binary; grey levels in [0, 1] by default. See
            :class:`~pyro_dgm.data.ImageData`.
        seed: Seed of the binarisation.

    Raises:
        MissingDataError: If no root is given, files are missing, or the download fails: no network, a
            server that says nothing for half a minute, another checksum.
        DataError: If a file is damaged, or the seed negative.
        UnknownNameError: If there is no such binarisation.

    Reference:
        LeCun, Bottou, Bengio and Haffner, Gradient-Based Learning Applied to Document Recognition, 1998.
    """
    return _read("mnist", "MNIST", root, download, binarize, seed)


def fashion_mnist(
    root: str | Path | None = None,
    *,
    download: bool = False,
    binarize: Binarization | None = None,
    seed: int = 0,
) -> ImageData:
    """Fashion-MNIST: 60 000 training and 10 000 test images of articles of clothing, 28 x 28.

    Args:
        root: The folder that holds ``FashionMNIST/raw/train-images-idx3-ubyte`` and its three companions, as
            torchvision writes them.
        download: Whether to fetch missing files into ``root``.
        binarize: How to make the images binary; grey levels in [0, 1] by default. See
            :class:`~pyro_dgm.data.ImageData`.
        seed: Seed of the binarisation.

    Raises:
        MissingDataError: If no root is given, files are missing, or the download fails.
        DataError: If a file is damaged, or the seed negative.
        UnknownNameError: If there is no such binarisation.

    Reference:
        Xiao, Rasul and Vollgraf, Fashion-MNIST, 2017. https://arxiv.org/abs/1708.07747
    """
    return _read("fashion-mnist", "FashionMNIST", root, download, binarize, seed)


def _read(
    name: str,
    dataset: Literal["MNIST", "FashionMNIST"],
    root: str | Path | None,
    download: bool,
    binarize: Binarization | None,
    seed: int,
) -> ImageData:
    if root is None:
        raise MissingDataError(
            f"{name} is read from a folder, and none was given: pass root=DIR (--data-root DIR), where DIR "
            f"holds {dataset}/raw, and download=True (--download) to fetch it there. The data set 'digits' "
            "needs no files."
        )
    folder = Path(root) / dataset / "raw"
    missing = [file for file in _FILES if not (folder / file).is_file()]
    if missing and not download:
        raise MissingDataError(
            f"{name}: no {', '.join(missing)} in {folder}. Pass the folder that holds {dataset}/raw with the "
            "unpacked files as root (--data-root DIR), or download=True (--download) to fetch them there."
        )
    train = _images_and_labels(name, dataset, folder, train=True, download=download)
    test = _images_and_labels(name, dataset, folder, train=False, download=download)
    return image_data(name, train, test, binarize=binarize, seed=seed)


def _images_and_labels(
    name: str, dataset: str, folder: Path, *, train: bool, download: bool
) -> tuple[Tensor, Tensor]:
    """Images ``(n, 1, 28, 28)`` in [0, 1] and labels ``(n,)`` of one part."""
    from torchvision import datasets

    build: Any = getattr(datasets, dataset)
    try:
        with patience() if download else nullcontext():
            part = build(folder.parent.parent, train=train, download=download)
    except OSError as error:
        raise MissingDataError(f"{name}: cannot read or write the files in {folder}: {error}.") from error
    except RuntimeError as error:
        if not download:
            raise _damaged(name, folder, train, repr(error)) from error
        raise MissingDataError(
            f"{name} could not be downloaded to {folder}: {error} Fetch the files elsewhere and put "
            "them there."
        ) from error
    except _READER_ERRORS as error:
        raise _damaged(name, folder, train, repr(error)) from error
    pixels, labels = part.data, part.targets.long()
    if pixels.shape != (len(labels), 28, 28) or len(labels) == 0 or not ((labels >= 0) & (labels < 10)).all():
        raise _damaged(name, folder, train, f"{len(labels)} labels for images of shape {tuple(pixels.shape)}")
    return pixels.to(torch.float32).div_(255).unsqueeze(1), labels


@contextmanager
def patience(seconds: float = 30.0) -> Iterator[None]:
    """Give up on a server that is silent for so long, in what is fetched in a block."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds if before is None else before)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _damaged(name: str, folder: Path, train: bool, what: str) -> DataError:
    part = "train" if train else "t10k"
    return DataError(
        f"{name}: a file {part}-* in {folder} is damaged ({what}). Delete it and fetch it again with "
        "download=True (--download)."
    )
