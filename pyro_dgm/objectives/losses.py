"""What the two players of an adversarial game minimise, computed from logits and never from probabilities."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import relu, softplus

from pyro_dgm.errors import UnknownNameError

__all__ = [
    "LOSSES",
    "AdversarialLoss",
    "CTransform",
    "Hinge",
    "LeastSquares",
    "Minimax",
    "NonSaturating",
    "Wasserstein",
    "adversarial_loss",
]


class AdversarialLoss:
    """The two losses of a game, from the critic's unbounded scores of real and generated rows.

    Attributes:
        lr: Default learning rate of Adam, from the paper that published the recipe.
        betas: Its default momenta.
    """

    lr: float = 2e-4
    betas: tuple[float, float] = (0.5, 0.999)

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        """The critic's loss, a scalar: the mean over the rows of both."""
        raise NotImplementedError(f"{type(self).__name__} must define critic(real, fake)")

    def generator(self, fake: Tensor) -> Tensor:
        """The generator's loss, a scalar: the mean over its rows."""
        raise NotImplementedError(f"{type(self).__name__} must define generator(fake)")

    def readout(self, scores: Tensor) -> Tensor:
        """The scores in the form in which people read them; a discriminator's are probabilities."""
        return scores

    def js_bound(self, real: Tensor, fake: Tensor) -> Tensor | None:
        """A lower bound of the JS divergence in nats, up to sampling error; None without probabilities."""
        return None

    def critic_of_rows(self, real: Tensor, fake: Tensor, x: Tensor, g: Tensor) -> Tensor:
        """The critic's loss, given the rows ``x`` and ``g`` beside their scores."""
        return self.critic(real, fake)

    def generator_of_rows(self, score: Callable[[Tensor], Tensor], x: Tensor, g: Tensor) -> Tensor:
        """The generator's loss of its rows ``g``, given the critic and rows ``x`` of the data."""
        return self.generator(score(g))


class Minimax(AdversarialLoss):
    r"""The game of the first GAN paper, whose value at the best discriminator is 2 JS - 2 log 2 nats.

    .. math:: \min_g \max_d \; E \log d(x) + E \log(1 - d(g(z))), \qquad d = \sigma(\text{score})

    The generator's gradient vanishes where the discriminator is sure: prefer :class:`NonSaturating`.

    Args:
        real_label: The label of real rows in the discriminator's cross-entropy; below 1, such as 0.9, it is
            one-sided label smoothing, which keeps the discriminator from being sure. The label of generated
            rows stays 0: smoothing it too would move the best discriminator towards the generator's own rows.

    Reference:
        Goodfellow et al., Generative Adversarial Nets, NeurIPS 2014. https://arxiv.org/abs/1406.2661
        Salimans et al., Improved Techniques for Training GANs, NeurIPS 2016, section 3.4 (label smoothing).
        https://arxiv.org/abs/1606.03498
    """

    def __init__(self, real_label: float = 1.0) -> None:
        if not 0.5 < real_label <= 1:
            raise ValueError(f"real_label must be in (0.5, 1], but is {real_label}.")
        self.real_label = real_label

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return ``-E log d(x) - E log(1 - d(g(z)))``, in nats, or the same with a smoothed label."""
        cross_entropy = softplus(-real).mean()
        if self.real_label < 1:  # -a log d - (1 - a) log(1 - d) = softplus(-r) + (1 - a) r
            cross_entropy = cross_entropy + (1 - self.real_label) * real.mean()
        return cross_entropy + softplus(fake).mean()

    def js_bound(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return ``(E log d(x) + E log(1 - d(g(z)))) / 2 + log 2``, whatever the labels are."""
        return math.log(2) - 0.5 * (softplus(-real).mean() + softplus(fake).mean())

    def generator(self, fake: Tensor) -> Tensor:
        """Return ``E log(1 - d(g(z)))``, in nats."""
        return -softplus(fake).mean()

    def readout(self, scores: Tensor) -> Tensor:
        """Return the probability ``d`` of being real."""
        return scores.sigmoid()


class NonSaturating(Minimax):
    """The discriminator of :class:`Minimax` with the generator's loss that keeps its gradient.

    Both have the same fixed point, and differ where ``d(g(z))`` is near zero.
    """

    def generator(self, fake: Tensor) -> Tensor:
        """Return ``-E log d(g(z))``, in nats."""
        return softplus(-fake).mean()


class LeastSquares(AdversarialLoss):
    """Squared distances to the labels 1 of real rows and 0 of generated ones.

    Reference:
        Mao et al., Least Squares Generative Adversarial Networks, ICCV 2017.
        https://arxiv.org/abs/1611.04076
    """

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return ``(E (f(x) - 1)^2 + E f(g(z))^2) / 2``."""
        return 0.5 * ((real - 1).square().mean() + fake.square().mean())

    def generator(self, fake: Tensor) -> Tensor:
        """Return ``E (f(g(z)) - 1)^2 / 2``."""
        return 0.5 * (fake - 1).square().mean()


class Hinge(AdversarialLoss):
    """Scores beyond 1 for real rows and -1 for generated ones give nothing more.

    Reference:
        Lim and Ye, Geometric GAN, 2017. https://arxiv.org/abs/1705.02894
    """

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return ``E max(0, 1 - f(x)) + E max(0, 1 + f(g(z)))``."""
        return relu(1 - real).mean() + relu(1 + fake).mean()

    def generator(self, fake: Tensor) -> Tensor:
        """Return ``-E f(g(z))``."""
        return -fake.mean()


class Wasserstein(AdversarialLoss):
    r"""The dual of the earth mover's distance, for a critic held to slope 1 by a regulariser.

    .. math:: W_1 = \max_{\mathrm{Lip}(f) \le 1} E f(x) - E f(g(z))

    The critic's value is in units of the data, and means something only beside its measured slope.

    Reference:
        Arjovsky, Chintala and Bottou, Wasserstein GAN, ICML 2017. https://arxiv.org/abs/1701.07875
    """

    lr = 1e-4
    betas = (0.0, 0.9)

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return ``E f(g(z)) - E f(x)``."""
        return fake.mean() - real.mean()

    def generator(self, fake: Tensor) -> Tensor:
        """Return ``-E f(g(z))``."""
        return -fake.mean()


class CTransform(Wasserstein):
    r"""The dual of the earth mover's distance with the second potential computed rather than bounded.

    .. math:: W_1 = \max_f E f(x) + E f^c(g(z)), \qquad f^c(y) = \min_x \lVert x - y \rVert - f(x)

    The minimum runs over the rows of the batch, so that the pair of potentials is admissible for *any* critic
    and the value never exceeds the distance of the two batches: no regulariser is needed. That distance is
    biased upwards as an estimate of the distance of the distributions, and its minimisers are centroids of
    the data, which look blurred: use it to measure rather than to generate.

    Reference:
        Mallasto, Montúfar and Gerolin, How Well Do WGANs Estimate the Wasserstein Metric?, 2019.
        https://arxiv.org/abs/1910.03875
        Stanczuk et al., Wasserstein GANs Work Because They Fail, 2021. https://arxiv.org/abs/2103.01678
    """

    def critic_of_rows(self, real: Tensor, fake: Tensor, x: Tensor, g: Tensor) -> Tensor:
        """Return ``-E f(x) - E f^c(g(z))``."""
        return -real.mean() - _transformed(real, x, g).mean()

    def generator_of_rows(self, score: Callable[[Tensor], Tensor], x: Tensor, g: Tensor) -> Tensor:
        """Return ``E f^c(g(z))``, whose gradient reaches ``g`` through the distance to the nearest row."""
        with torch.no_grad():
            real = score(x)
        return _transformed(real, x, g).mean()


def _transformed(real: Tensor, x: Tensor, g: Tensor) -> Tensor:
    """The c-transform of the scores ``real`` of rows ``x`` at the rows ``g``: of shape ``(n,)``."""
    with torch.no_grad():
        nearest = (torch.cdist(g.flatten(1), x.flatten(1)) - real).argmin(1)
    distance: Tensor = torch.linalg.vector_norm((g - x[nearest]).flatten(1), dim=1)
    return distance - real[nearest]


LOSSES: dict[str, type[AdversarialLoss]] = {
    "minimax": Minimax,
    "non-saturating": NonSaturating,
    "least-squares": LeastSquares,
    "hinge": Hinge,
    "wasserstein": Wasserstein,
    "c-transform": CTransform,
}


def adversarial_loss(loss: str | AdversarialLoss) -> AdversarialLoss:
    """Return the loss of that name, or the loss itself.

    Example:
        >>> adversarial_loss("wasserstein").betas
        (0.0, 0.9)
    """
    if isinstance(loss, AdversarialLoss):
        return loss
    if loss not in LOSSES:
        raise UnknownNameError.of("loss", str(loss), LOSSES)
    return LOSSES[loss]()
