"""Generators and critics that are told a class, or any other context."""

from __future__ import annotations

from torch import Tensor, broadcast_shapes, cat, nn

__all__ = ["AuxiliaryCritic", "ConditionalGenerator", "JointCritic", "ProjectionCritic"]


class ConditionalGenerator(nn.Module):
    """Puts the context beside the code: g(z, y) = network([z, y]).

    Args:
        network: Maps ``(*batch, latent_dim + context_dim)`` to rows.

    Shape:
        Code ``(*batch, latent_dim)`` and context ``(*batch, context_dim)``, such as a class one-hot; their
        batch shapes broadcast.

    Reference:
        Mirza and Osindero, Conditional Generative Adversarial Nets, 2014. https://arxiv.org/abs/1411.1784

    Example:
        >>> import torch
        >>> ConditionalGenerator(nn.Linear(2 + 3, 4))(torch.randn(5, 2), torch.eye(3)[[0, 1, 2, 0, 1]]).shape
        torch.Size([5, 4])
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, z: Tensor, context: Tensor) -> Tensor:
        """Return the rows of codes ``z``, given the context."""
        context = context.to(z)
        if context.shape[:-1] != z.shape[:-1]:
            batch = broadcast_shapes(z.shape[:-1], context.shape[:-1])
            z, context = z.expand(*batch, -1), context.expand(*batch, -1)
        return self.network(cat((z, context), dim=-1))  # type: ignore[no-any-return]


class JointCritic(nn.Module):
    """Scores a row with its context beside it: f(x, y) = network([x, y]), of any dependence between them.

    Args:
        network: Maps ``(n, row_dim + context_dim)`` to one number each, ``(n, 1)``.

    Shape:
        Rows ``(n, row_dim)`` and context ``(n, context_dim)``; scores ``(n,)``.

    Reference:
        Mirza and Osindero, Conditional Generative Adversarial Nets, 2014. https://arxiv.org/abs/1411.1784

    Example:
        >>> import torch
        >>> JointCritic(nn.Linear(2 + 3, 1))(torch.randn(5, 2), torch.randn(5, 3)).shape
        torch.Size([5])
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Return one score for each pair."""
        return self.network(cat((x, context.to(x)), dim=-1)).squeeze(-1)  # type: ignore[no-any-return]


class ProjectionCritic(nn.Module):
    r"""Scores pairs of a row and its context by projection of features.

    .. math:: f(x, y) = v^\top h(x) + b + y^\top W h(x)

    which is the form of the log-ratio of two distributions whose class posteriors are log-linear in h.

    Args:
        features: The network h, from rows to ``(n, feature_dim)``.
        feature_dim: Size of its output.
        context_dim: Size of the context, such as the number of classes.

    Reference:
        Miyato and Koyama, cGANs with Projection Discriminator, ICLR 2018. https://arxiv.org/abs/1802.05637

    Example:
        >>> import torch
        >>> critic = ProjectionCritic(nn.Sequential(nn.Linear(4, 8), nn.ReLU()), 8, 3)
        >>> critic(torch.randn(2, 4), torch.eye(3)[:2]).shape
        torch.Size([2])
    """

    def __init__(self, features: nn.Module, feature_dim: int, context_dim: int) -> None:
        super().__init__()
        self.features = features
        self.score = nn.Linear(feature_dim, 1)
        self.embedding = nn.Linear(context_dim, feature_dim, bias=False)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Return one score for each pair."""
        h: Tensor = self.features(x)
        return self.score(h).squeeze(-1) + (h * self.embedding(context.to(h))).sum(-1)  # type: ignore[no-any-return]


class AuxiliaryCritic(nn.Module):
    """Scores rows and, with a second head, tells their class; for ``objectives.AuxiliaryClassifier``.

    Args:
        features: The network from rows to ``(n, feature_dim)`` that both heads share.
        feature_dim: Size of its output.
        num_classes: Number of classes.

    Reference:
        Odena, Olah and Shlens, Conditional Image Synthesis with Auxiliary Classifier GANs, ICML 2017.
        https://arxiv.org/abs/1610.09585

    Example:
        >>> import torch
        >>> critic = AuxiliaryCritic(nn.Sequential(nn.Linear(4, 8), nn.ReLU()), 8, 3)
        >>> critic(torch.randn(2, 4)).shape, critic.classify(torch.randn(2, 4)).shape
        (torch.Size([2]), torch.Size([2, 3]))
    """

    def __init__(self, features: nn.Module, feature_dim: int, num_classes: int) -> None:
        super().__init__()
        self.features = features
        self.score = nn.Linear(feature_dim, 1)
        self.classes = nn.Linear(feature_dim, num_classes)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return one score for each row; the context is not looked at."""
        return self.score(self.features(x)).squeeze(-1)  # type: ignore[no-any-return]

    def classify(self, x: Tensor) -> Tensor:
        """Return class logits of each row."""
        return self.classes(self.features(x))  # type: ignore[no-any-return]
