"""The handwritten digits that come with scikit-learn: images without a download."""

from __future__ import annotations

import torch

from pyro_dgm.data.images import Binarization, ImageData, image_data
from pyro_dgm.errors import DataError

__all__ = ["digits"]


def digits(
    *, binarize: Binarization | None = None, test_fraction: float = 0.2, seed: int = 0, split_seed: int = 0
) -> ImageData:
    """The 1797 handwritten digits of 8 x 8 pixels and 17 grey levels that scikit-learn ships.

    Args:
        binarize: How to make the images binary; grey levels in [0, 1] by default. See
            :class:`~pyro_dgm.data.ImageData`.
        test_fraction: Share of the images held out for testing, equal in every class.
        seed: Seed of the binarisation.
        split_seed: Seed of the split into training and test images.

    Raises:
        DataError: If the fraction leaves no class in one of the two parts, or a seed is negative.
        UnknownNameError: If there is no such binarisation.

    Reference:
        Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    if split_seed < 0:
        raise DataError(f"split_seed must be at least 0, but is {split_seed}.")
    pixels, labels = load_digits(return_X_y=True)
    if not 10 / len(labels) <= test_fraction <= 1 - 10 / len(labels):
        raise DataError(
            "test_fraction must leave each of the 10 classes an image in both parts, so lie between 0.006 "
            f"and 0.994, but is {test_fraction}."
        )
    images = (torch.from_numpy(pixels).float() / 16).reshape(-1, 1, 8, 8)
    classes = torch.from_numpy(labels).long()
    train, test = train_test_split(
        range(len(labels)), test_size=test_fraction, random_state=split_seed, stratify=labels
    )
    return image_data(
        "digits", (images[train], classes[train]), (images[test], classes[test]), binarize=binarize, seed=seed
    )
