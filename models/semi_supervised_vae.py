"""A VAE with a class label that is known for some rows."""

from __future__ import annotations

from typing import Any

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyro_dgm.distributions import StandardNormal
from pyro_dgm.distributions.likelihoods import Bernoulli, Likelihood
from pyro_dgm.models.generative_model import Capabilities, GenerativeModel, evaluating
from pyro_dgm.naming import NamedPyroModule
from pyro_dgm.plates import data_plate

__all__ = ["LabelGuide", "SemiSupervisedVAE"]


class LabelGuide(NamedPyroModule):
    """The guide q(y | x) q(z | x, y), whose label Pyro enumerates.

    Sites: ``y`` where no labels are given, and ``z``, in the plate ``data``.

    Args:
        classifier: Maps rows ``(n, *event)`` to logits ``(n, num_classes)``.
        encoder: Maps rows and one-hot labels ``(*batch, num_classes)``, whose batch shapes broadcast, to
            location and log-variance; such as ``MLPEncoder(..., context_dim=num_classes)``.
        name: Prefix of the parameters in Pyro's store; unique by default.
    """

    def __init__(self, classifier: nn.Module, encoder: nn.Module, *, name: str | None = None) -> None:
        super().__init__(name)
        self.classifier, self.encoder = classifier, encoder

    def labels(self, x: Tensor) -> Any:
        """Return q(y | x), over one-hot labels."""
        return dist.OneHotCategorical(logits=self.classifier(x))

    def forward(
        self,
        x: Tensor,
        context: Tensor | None = None,
        *,
        num: int = 1,
        size: int | None = None,
        index: Tensor | None = None,
    ) -> Tensor:
        """Draw ``y``, unless ``context`` has the labels, and ``z``."""
        with data_plate(len(x), size, index):
            y = context
            if y is None:
                y = pyro.sample("y", self.labels(x), infer={"enumerate": "parallel"})
            loc, logvar = self.encoder(x, y)
            return pyro.sample("z", dist.Normal(loc, (0.5 * logvar).exp()).to_event(1))


class SemiSupervisedVAE(GenerativeModel):
    r"""Latent-variable model p(y) p(z) p(x | y, z) whose class ``y`` is known for some rows only.

    The labels are the ``context``: ``model(x, y)`` for labelled rows, one-hot, and ``model(x)`` for others,
    over whose classes Pyro sums exactly. Labelled rows add ``label_weight * log q(y | x)`` while training, a
    factor ``penalty_label``, since the bound alone teaches the classifier nothing there. Train with
    ``SVI(model, model.guide, optimiser, TraceEnum_ELBO(max_plate_nesting=1))``, or with
    ``ELBO(model, estimator=TraceEnum_ELBO(max_plate_nesting=1))``, and for
    labelled rows, which have nothing to enumerate, ``strict_enumeration_warning=False``.

    Sites: ``y``, ``z`` and ``x`` in the plate ``data``.

    Args:
        decoder: Maps codes and one-hot labels to the likelihood's parameters, as ``decoder(z, y)``; such as
            ``MLPDecoder(..., context_dim=num_classes)``.
        latent_dim: Size ``q`` of the latent.
        num_classes: Number of classes, equally probable before a row is seen.
        guide: The guide, which has the classifier.
        likelihood: Maps the decoder's output to the distribution of ``x``; Bernoulli by default.
        label_weight: Weight of the classifier's log-probability of a given label.
        name: Prefix of the parameters in Pyro's store; unique by default.

    Reference:
        Kingma, Rezende, Mohamed and Welling, Semi-Supervised Learning with Deep Generative Models, NeurIPS
        2014. https://arxiv.org/abs/1406.5298

    Example:
        >>> from pyro_dgm.nets import MLPDecoder, MLPEncoder
        >>> guide = LabelGuide(nn.Linear(4, 3), MLPEncoder((4,), 2, context_dim=3))
        >>> model = SemiSupervisedVAE(MLPDecoder(2, (4,), context_dim=3), 2, 3, guide)
        >>> model.sample(5).shape, model.classify(torch.zeros(5, 4)).shape
        (torch.Size([5, 4]), torch.Size([5, 3]))
    """

    def __init__(
        self,
        decoder: nn.Module,
        latent_dim: int,
        num_classes: int,
        guide: LabelGuide,
        *,
        likelihood: Likelihood | None = None,
        label_weight: float = 1.0,
        name: str | None = None,
    ) -> None:
        super().__init__(name)
        self.decoder, self.latent_dim, self.label_weight = decoder, latent_dim, label_weight
        self.guide = guide
        self.likelihood = Bernoulli() if likelihood is None else likelihood
        self.register_buffer("origin", torch.zeros(latent_dim), persistent=False)
        self.register_buffer("even", torch.full((num_classes,), 1 / num_classes), persistent=False)

    @property
    def capabilities(self) -> Capabilities:
        """Draws; a bound through the objectives, with labels summed out."""
        return Capabilities(False, False, True, False, latent_dim=self.latent_dim, data_dim=None)

    def forward(
        self,
        x: Tensor | None = None,
        context: Tensor | None = None,
        *,
        num: int = 1,
        size: int | None = None,
        index: Tensor | None = None,
    ) -> Tensor:
        """Score rows with the labels ``context``, or over all labels, or draw ``num`` new rows."""
        n = num if x is None else len(x)
        with data_plate(n, size, index):
            y = pyro.sample("y", dist.OneHotCategorical(self.even), obs=context)
            if x is not None and context is not None and self.training and self.label_weight:
                log_q = self.guide.labels(x).log_prob(context)
                pyro.factor("penalty_label", self.label_weight * log_q)
            z = pyro.sample("z", StandardNormal(self.origin))
            return pyro.sample("x", self.likelihood(self.decoder(z, y)), obs=x)

    def classify(self, x: Tensor) -> Tensor:
        """The probabilities q(y | x) of the classes of each row, of shape ``(n, num_classes)``."""
        with torch.no_grad(), evaluating(self):
            probabilities: Tensor = self.guide.labels(x).probs
        return probabilities
