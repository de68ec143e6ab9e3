"""Classes told by the critic's second head."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pyro_dgm.distributions.one_hot import check_one_hot
from pyro_dgm.errors import DataError
from pyro_dgm.objectives.regulariser import Penalty, Regulariser, Round

__all__ = ["AuxiliaryClassifier"]


class AuxiliaryClassifier(Regulariser):
    r"""Both players also want the class of a row to be told from it.

    .. math:: \lambda \bigl(E[-\log c(y \mid x)] + E[-\log c(y \mid g(z, y))]\bigr)

    for the critic, the second term alone for the generator. The batch's context is the class, one-hot, as for
    a conditional generator. The critic has a method ``classify(rows)``, which gives logits ``(n, classes)``:
    see :class:`~pyro_dgm.nets.AuxiliaryCritic`.

    Args:
        weight: The factor lambda.

    Raises:
        TypeError: If the critic has no ``classify``.
        DataError: In a step, if the batch has no one-hot context.

    Reference:
        Odena, Olah and Shlens, Conditional Image Synthesis with Auxiliary Classifier GANs, ICML 2017.
        https://arxiv.org/abs/1610.09585
    """

    def __init__(self, weight: float = 1.0) -> None:
        if weight < 0:
            raise ValueError(f"AuxiliaryClassifier needs weight >= 0, got {weight}.")
        self.weight = weight

    def check(self, critic: nn.Module) -> None:
        """Raise if the critic cannot classify."""
        if not callable(getattr(critic, "classify", None)):
            raise TypeError(
                f"AuxiliaryClassifier needs a critic with a method classify(rows) for class logits, but "
                f"{type(critic).__name__} has none. Wrap its features: nets.AuxiliaryCritic(features, ...)."
            )

    def critic_term(self, move: Round) -> Penalty:
        """Return the cross-entropy on real and generated rows."""
        labels = _labels(move)
        losses = [self._loss(move, rows, labels) for rows in (move.real, move.fake)]
        return Penalty(self.weight * (losses[0] + losses[1]))

    def generator_term(self, move: Round) -> Tensor:
        """Return the cross-entropy on generated rows."""
        return self.weight * self._loss(move, move.fake, _labels(move))

    def _loss(self, move: Round, rows: Tensor, labels: Tensor) -> Tensor:
        logits = move.critic.classify(rows)  # type: ignore[operator]
        return cross_entropy(logits, labels)

    def __repr__(self) -> str:
        return f"AuxiliaryClassifier({self.weight})"


def _labels(move: Round) -> Tensor:
    context = move.batch.context
    if context is None:
        raise DataError(
            "AuxiliaryClassifier reads the classes off a one-hot context (n, classes), but got none. "
            "Pass data as (rows, torch.nn.functional.one_hot(labels).float())."
        )
    check_one_hot("AuxiliaryClassifier", context)
    return context.argmax(-1)
