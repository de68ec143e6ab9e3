"""Image data sets held in memory, and their binarisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from pyro_dgm.errors import DataError, UnknownNameError

__all__ = ["Binarization", "ImageData", "image_data"]

Binarization = Literal["threshold", "fixed", "dynamic"]


@dataclass(frozen=True)
class ImageData:
    """Training and test images with labels.

    Grey levels lie in [0, 1]. How the images were made binary, if at all, is part of the name, because
    likelihoods under two binarisations are not comparable: choosing one is worth several nats.

    - ``"threshold"``: 1 where the grey level is at least one half.
    - ``"fixed"``: each pixel drawn once with its grey level as probability, by a seed. It is this library's
      own draw: not the file that the literature calls fixed or static binarisation.
    - ``"dynamic"``: each pixel drawn anew at every access through :meth:`batch` and :meth:`sample`, so
      that ``train`` holds the probabilities, in grey; ``test`` is drawn once, by the seed.

    Attributes:
        name: What to print beside a figure, the binarisation included.
        train: Training images, of shape ``(n, C, H, W)``, float32 in [0, 1].
        test: Test images, likewise.
        train_labels: Class of each training image, of shape ``(n,)``, int64.
        test_labels: Class of each test image, likewise.
        binarization: How the images were made binary, or None for grey levels.

    Example:
        >>> from pyro_dgm.data import digits
        >>> images = digits(binarize="dynamic")
        >>> images.name, images.batch(torch.arange(5)).unique()
        ('digits (dynamic binarization)', tensor([0., 1.]))
    """

    name: str
    train: Tensor
    test: Tensor
    train_labels: Tensor
    test_labels: Tensor
    binarization: Binarization | None = None

    @property
    def event_shape(self) -> torch.Size:
        """The shape of one image, ``(C, H, W)``."""
        return self.train.shape[1:]

    def batch(self, index: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Training images as a model should see them: the rows ``index``, drawn anew if dynamic.

        Args:
            index: Row numbers, of shape ``(n,)``.
            generator: Source of the random numbers of dynamic binarisation; the global state by default.

        Returns:
            Images of shape ``(n, C, H, W)``.
        """
        rows = self.train[index]
        return torch.bernoulli(rows, generator=generator) if self.binarization == "dynamic" else rows

    def sample(self, n: int, seed: int | None = None) -> Tensor:
        """Draw ``n`` training images with replacement, binarised anew if dynamic.

        Args:
            n: Number of images.
            seed: Seed of this draw, which then leaves the global random state as it was.

        Returns:
            Images of shape ``(n, C, H, W)``.
        """
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        return self.batch(torch.randint(len(self.train), (n,), generator=generator), generator)


def image_data(
    name: str,
    train: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
    *,
    binarize: Binarization | None = None,
    seed: int = 0,
) -> ImageData:
    """Put grey images and labels together, binarised as asked.

    Args:
        name: Name of the grey data set; the binarisation is added to it.
        train: Training images ``(n, C, H, W)`` in [0, 1], and their labels ``(n,)``.
        test: Test images and labels.
        binarize: How to make the images binary; grey by default. See :class:`ImageData`.
        seed: Seed of what is drawn once.

    Raises:
        UnknownNameError: If there is no such binarisation.
        DataError: If the seed is negative.
    """
    if binarize not in (None, "threshold", "fixed", "dynamic"):
        raise UnknownNameError.of("binarization", str(binarize), ("threshold", "fixed", "dynamic"))
    if seed < 0:
        raise DataError(f"seed must be at least 0, but is {seed}.")
    (x_train, y_train), (x_test, y_test) = train, test
    generator = torch.Generator().manual_seed(seed)
    if binarize == "threshold":
        x_train, x_test = (x_train >= 0.5).to(x_train.dtype), (x_test >= 0.5).to(x_test.dtype)
    elif binarize is not None:
        # test first, so that the test images of one seed are the same for fixed and dynamic
        x_test = torch.bernoulli(x_test, generator=generator)
        if binarize == "fixed":
            x_train = torch.bernoulli(x_train, generator=generator)
    suffix = {
        None: "",
        "threshold": " (binarized at threshold 0.5)",
        "fixed": f" (binarized once, seed {seed})",
        "dynamic": " (dynamic binarization)",
    }[binarize]
    return ImageData(name + suffix, x_train, x_test, y_train, y_test, binarize)
