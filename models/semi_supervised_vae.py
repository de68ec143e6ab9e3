"""A VAE with a class label that is known for some rows."""

from __future__ import annotations

import math
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyro_dgm.arguments import positive_int
from pyro_dgm.distributions import StandardNormal
from pyro_dgm.distributions.likelihoods import Bernoulli, Likelihood
from pyro_dgm.distributions.one_hot import check_one_hot
from pyro_dgm.errors import DataError
from pyro_dgm.models.generative_model import Capabilities, GenerativeModel, check_rows, evaluating
from pyro_dgm.naming import NamedPyroModule
from pyro_dgm.networks import call_network
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
        return dist.OneHotCategorical(logits=call_network("the classifier", self.classifier, x))

    def latents(self, x: Tensor, y: Tensor) -> Any:
        """Return q(z | x, y), for one-hot labels whose batch shape broadcasts with that of the rows."""
        loc, logvar = call_network("the encoder", self.encoder, x, y.to(x))
        return dist.Normal(loc, (0.5 * logvar).exp()).to_event(1)

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
        if context is not None:
            check_one_hot("LabelGuide", context)
        with data_plate(len(x), size, index):
            y = context
            if y is None:
                y = pyro.sample("y", self.labels(x), infer={"enumerate": "parallel"})
            return pyro.sample("z", self.latents(x, y))


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

    Raises:
        ShapeError: If labels come as numbers instead of one-hot vectors, or are those of other classes.
        DataError: If a label is not one-hot, or there are fewer than two classes.

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
        if num_classes < 2 or latent_dim < 1:
            raise DataError(
                "SemiSupervisedVAE needs num_classes >= 2 and latent_dim >= 1, but got "
                f"num_classes={num_classes} and latent_dim={latent_dim}."
            )
        self.decoder, self.latent_dim, self.label_weight = decoder, latent_dim, label_weight
        self.guide = guide
        self.likelihood = Bernoulli() if likelihood is None else likelihood
        self.register_buffer("origin", torch.zeros(latent_dim), persistent=False)
        self.register_buffer("even", torch.full((num_classes,), 1 / num_classes), persistent=False)

    @property
    def capabilities(self) -> Capabilities:
        """Draws, and a bound with labels summed out; no exact density."""
        return Capabilities(False, True, True, False, latent_dim=self.latent_dim, data_dim=None)

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
        if context is not None:
            check_one_hot("SemiSupervisedVAE", context, len(self.even), each=x is not None)
            context = context.to(self.even)
        with data_plate(n, size, index):
            y = pyro.sample("y", dist.OneHotCategorical(self.even), obs=context)
            if x is not None and context is not None and self.training and self.label_weight:
                log_q = self.guide.labels(x).log_prob(context)
                pyro.factor("penalty_label", self.label_weight * log_q)
            z = pyro.sample("z", StandardNormal(self.origin))
            return pyro.sample("x", self._decode(z, y), obs=x)

    def _decode(self, z: Tensor, y: Tensor) -> Any:
        return self.likelihood(call_network("the decoder", self.decoder, z, y))

    def log_prob_bound(self, x: Tensor, num_particles: int = 1, context: Tensor | None = None) -> Tensor:
        r"""A stochastic lower bound of log p(x), or of log p(x, y) for labels ``context``.

        .. math:: \log \sum_y p(y) \frac{1}{K} \sum_k \frac{p(z_{yk}) p(x | y, z_{yk})}{q(z_{yk} | x, y)}

        The sum over the classes is exact, so that the classifier has no part in it: with one particle it is
        at least the enumerated ELBO. Returns one value per row, of shape ``(n,)``, in nats.

        Raises:
            ShapeError: If labels do not fit.
            DataError: If rows are of another dtype, or labels not one-hot.
        """
        num_particles = positive_int("num_particles", num_particles)
        check_rows("a SemiSupervisedVAE", x, self.origin)
        classes = len(self.even)
        if context is None:
            y = torch.eye(classes).to(x).unsqueeze(1).expand(classes, len(x), classes)
        else:
            check_one_hot("SemiSupervisedVAE", context, classes)
            y = context.to(x).expand(1, len(x), classes)
        with evaluating(self):
            posterior = self.guide.latents(x, y)
            z = posterior.rsample(torch.Size([num_particles]))
            log_joint = StandardNormal(self.origin).log_prob(z)
            log_joint = log_joint + self._decode(z, y.expand(*z.shape[:-1], classes)).log_prob(x)
            log_weights: Tensor = log_joint - posterior.log_prob(z)
        total = log_weights.logsumexp((0, 1))
        return total - math.log(num_particles) - math.log(classes)

    def classify(self, x: Tensor) -> Tensor:
        """The probabilities q(y | x) of the classes of each row, of shape ``(n, num_classes)``."""
        check_rows("a SemiSupervisedVAE", x, self.origin)
        with torch.no_grad(), evaluating(self):
            probabilities: Tensor = self.guide.labels(x).probs
        return probabilities
