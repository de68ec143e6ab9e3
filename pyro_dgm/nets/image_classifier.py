"""A small convolutional classifier of images, whose last hidden layer serves as features."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from pyro_dgm.nets.conv_encoder import check_image_shape, check_images

__all__ = ["ImageClassifier"]


class ImageClassifier(nn.Module):
    """Gives each image a logit for each class, and a vector of features on the way there.

    Three convolutions (3 x 3, each but the first behind a pooling by two) and two linear layers; the features
    are the values behind the first of these. There is no normalisation by batches: an image's features do not
    depend on the others.

    Args:
        data_shape: Shape ``(C, H, W)`` of an image; ``H`` and ``W`` are divisible by 4.
        num_classes: Number of classes.
        width: Channels of the first convolution; the others have twice as many.
        feature_dim: Number of features.

    Shape:
        Input ``(*batch, C, H, W)``; logits ``(*batch, num_classes)``; features ``(*batch, feature_dim)``.

    Raises:
        ShapeError: If an image has another shape than ``data_shape``.

    Example:
        >>> import torch
        >>> network = ImageClassifier((1, 8, 8))
        >>> network(torch.rand(5, 1, 8, 8)).shape, network.features(torch.rand(5, 1, 8, 8)).shape
        (torch.Size([5, 10]), torch.Size([5, 64]))
    """

    def __init__(
        self,
        data_shape: Sequence[int] = (1, 28, 28),
        *,
        num_classes: int = 10,
        width: int = 16,
        feature_dim: int = 64,
    ) -> None:
        super().__init__()
        channels, height, columns = self.data_shape = check_image_shape(data_shape)
        self.feature_dim = feature_dim
        self.layers = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveMaxPool2d((min(3, height // 4), min(3, columns // 4))),
            nn.Flatten(),
            nn.Linear(2 * width * min(3, height // 4) * min(3, columns // 4), feature_dim),
        )
        self.head = nn.Sequential(nn.ReLU(), nn.Linear(feature_dim, num_classes))

    def features(self, x: Tensor) -> Tensor:
        """Features of the images ``x``, before the last rectifier."""
        batch = check_images(x, self.data_shape, type(self).__name__)
        rows: Tensor = self.layers(x.reshape(-1, *self.data_shape))
        return rows.reshape(*batch, rows.shape[-1])

    def forward(self, x: Tensor) -> Tensor:
        """Logits of the classes of the images ``x``."""
        return self.head(self.features(x))  # type: ignore[no-any-return]
