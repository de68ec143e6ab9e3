"""Features and labels of digits, by small classifiers that are shipped with the library and never change."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import torch
from torch import Tensor, nn

from pyro_dgm.data.rows import as_rows
from pyro_dgm.errors import DataError, ShapeError, UnknownNameError
from pyro_dgm.nets import ImageClassifier

__all__ = ["ClassHistogram", "PinnedClassifier", "pinned_classifier"]


@dataclass(frozen=True)
class _Pin:
    shape: tuple[int, int, int]
    width: int
    sha256: str
    accuracy: dict[str, float]


# Written by `python -m benchmarks.pinned_classifier`: features under other weights are other features.
_PINS = {
    "digits": _Pin(
        (1, 8, 8),
        12,
        "50cb8202f91cc8412c4f9554c73373b55f7b24cd8e1dbad70f753ec1e8c10217",
        {"grey": 0.9806, "binary": 0.9361},
    ),
    "mnist": _Pin(
        (1, 28, 28),
        16,
        "05b62ffce8f9796324c71378efe88cb25b833936ed325eb056cbf338533d505f",
        {"grey": 0.9935, "binary": 0.9928},
    ),
}
_LARGEST_BATCH = 1000


@dataclass(frozen=True)
class ClassHistogram:
    """How samples are spread over classes, as a classifier sees them.

    Attributes:
        shares: Share of the samples in each class, of shape ``(num_classes,)``.
        hit: Number of classes that at least a tenth of their fair share lies in.
        divergence: Kullback-Leibler divergence of the shares from equal ones, in nats; its expectation for
            equal classes is about ``(num_classes - 1) / (2 num_samples)``.
        num_samples: Number of samples.
        accuracy: Share of real test images that the classifier gets right: shares are no better than that.
    """

    shares: Tensor
    hit: int
    divergence: float
    num_samples: int
    accuracy: float

    def __str__(self) -> str:
        return (
            f"{self.hit} of {len(self.shares)} classes hit by {self.num_samples} samples; KL of their shares "
            f"from equal ones {self.divergence:.4f} nats, by a classifier of accuracy {self.accuracy:.1%}"
        )


class PinnedClassifier(nn.Module):
    """A small convolutional classifier with fixed weights, for metrics on features and on labels.

    Fréchet and kernel distances of its features, ``frechet_distance(c.features(a), c.features(b))``, can be
    compared between papers and runs that use the same ``name`` and sample size, and with nothing else: they
    are not the FID and KID, whose network knows natural images.

    Attributes:
        name: ``"digits"`` or ``"mnist"``: what it was trained on.
        sha256: Checksum of its weights.
        accuracy: Share of the test images that it classifies rightly, for grey images and for images
            binarised at one half.

    Shape:
        Images ``(n, C, H, W)`` with values in [0, 1]; features ``(n, 64)``; labels ``(n,)``.
    """

    def __init__(self, name: str, network: ImageClassifier, sha256: str, accuracy: dict[str, float]) -> None:
        super().__init__()
        self.name, self.sha256, self.accuracy = name, sha256, accuracy
        self.network = network.eval().requires_grad_(False)

    @property
    def feature_dim(self) -> int:
        """Number of features."""
        return self.network.feature_dim

    def features(self, images: object) -> Tensor:
        """Features of images: tensor, numpy array or list of shape ``(n, C, H, W)``.

        Raises:
            DataError: If a pixel is not finite.
            ShapeError: If the images have another shape.
        """
        return self._by_batches(images, self.network.features)

    def labels(self, images: object) -> Tensor:
        """The most likely class of each image."""
        return self._by_batches(images, self.network).argmax(-1)

    def class_histogram(self, images: object) -> ClassHistogram:
        """How the images are spread over the classes."""
        labels = self.labels(images)
        if len(labels) == 0:
            raise DataError("class_histogram needs at least one image, got none.")
        shares = labels.bincount(minlength=10).double() / len(labels)
        divergence = torch.xlogy(shares, shares).sum().item() + math.log(len(shares))
        hit = int((shares >= 0.1 / len(shares)).sum())
        return ClassHistogram(shares, hit, divergence, len(labels), self.accuracy["grey"])

    def _by_batches(self, images: object, function: nn.Module | object) -> Tensor:
        rows = as_rows(images, dtype=torch.double, name="images").float()
        if rows.shape[1:] != self.network.data_shape:
            raise ShapeError(
                f"the classifier of {self.name} takes images of shape (n, "
                f"{', '.join(map(str, self.network.data_shape))}), but got {tuple(rows.shape)}."
            )
        with torch.no_grad():
            parts = [function(part) for part in rows.split(_LARGEST_BATCH)]  # type: ignore[operator]
        return torch.cat(parts)


@cache
def pinned_classifier(name: str) -> PinnedClassifier:
    """The classifier of 8 x 8 ``"digits"`` or 28 x 28 ``"mnist"`` images that is shipped with the library.

    Raises:
        UnknownNameError: If there is none of this name.
        DataError: If its file is not the one that was shipped.

    Example:
        >>> from pyro_dgm import data
        >>> classifier = pinned_classifier("digits")
        >>> digits = data.digits()
        >>> classifier.features(digits.test).shape[1], classifier.class_histogram(digits.test).hit
        (64, 10)
    """
    from safetensors.torch import load

    if name not in _PINS:
        raise UnknownNameError.of("pinned classifier", name, _PINS)
    pin = _PINS[name]
    content = files("pyro_dgm.metrics").joinpath("weights", f"{name}.safetensors").read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != pin.sha256:
        raise DataError(
            f"the weights of the classifier of {name} have the checksum {found}, not {pin.sha256}: the file "
            "is not the one that was shipped. Install pyro_dgm again."
        )
    network = ImageClassifier(pin.shape, width=pin.width)
    network.load_state_dict(load(content))
    return PinnedClassifier(name, network, found, dict(pin.accuracy))
