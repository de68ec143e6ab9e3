"""Terms that steady both players: feature matching and historical averaging."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pyro_dgm.errors import UnknownNameError
from pyro_dgm.objectives.holding import tensors_of
from pyro_dgm.objectives.regulariser import Penalty, Regulariser, Round

__all__ = ["FeatureMatching", "HistoricalAveraging"]


class FeatureMatching(Regulariser):
    r"""Lets the generator match the *mean* of a critic's features rather than fool its score.

    .. math:: \lambda \, \lVert E h(x) - E h(g(z)) \rVert_2^2

    Means are compared and not pairs of rows: for two samples of one distribution the term goes to zero as
    the batch grows, in whatever order they come.

    Args:
        layer: Name of the part of the critic whose output is h, as in ``critic.named_modules()``.
        weight: The factor lambda.
        alone: Whether it replaces the generator's loss, as published, or is added to it.

    Reference:
        Salimans et al., Improved Techniques for Training GANs, NeurIPS 2016, section 3.1.
        https://arxiv.org/abs/1606.03498

    Example:
        >>> FeatureMatching.distance(torch.tensor([[1.0], [3.0]]), torch.tensor([[3.0], [1.0]]))
        tensor(0.)
    """

    def __init__(self, layer: str, *, weight: float = 1.0, alone: bool = True) -> None:
        if weight < 0:
            raise ValueError(f"FeatureMatching needs weight >= 0, got {weight}.")
        self.layer, self.weight, self.replaces_generator_loss = layer, weight, alone

    @staticmethod
    def distance(real: Tensor, fake: Tensor) -> Tensor:
        """Return the squared distance of the means of two sets of features ``(n, *feature)``."""
        return (real.mean(0) - fake.mean(0)).square().sum()

    def check(self, critic: nn.Module) -> None:
        """Raise if the critic has no part of that name."""
        names = [name for name, _ in critic.named_modules() if name]
        if self.layer not in names:
            raise UnknownNameError.of("layer of the critic", self.layer, names)

    def generator_term(self, move: Round) -> Tensor:
        """Return the weighted distance of the features of both batches."""
        with torch.no_grad():
            real = self._features(move, move.real)
        return self.weight * self.distance(real, self._features(move, move.fake))

    def _features(self, move: Round, rows: Tensor) -> Tensor:
        seen: list[Tensor] = []
        part = move.critic.get_submodule(self.layer)
        hook = part.register_forward_hook(lambda module, given, output: seen.append(output))
        try:
            move.score(rows)
        finally:
            hook.remove()
        if not seen:
            raise ValueError(f"the critic's forward does not run its part {self.layer!r}: name one it runs.")
        return seen[-1]

    def __repr__(self) -> str:
        return f"FeatureMatching({self.layer!r}, weight={self.weight}, alone={self.replaces_generator_loss})"


class HistoricalAveraging(Regulariser):
    r"""Ties both players to the average of where they have been, as a term of either loss.

    .. math:: \lambda \, \Bigl\lVert \theta - \frac1t \sum_{i=1}^t \theta_i \Bigr\rVert_2^2

    A term, so that its gradient goes through the optimiser together with that of the loss.

    Args:
        weight: The factor lambda.

    Reference:
        Salimans et al., Improved Techniques for Training GANs, NeurIPS 2016, section 3.3.
        https://arxiv.org/abs/1606.03498
    """

    def __init__(self, weight: float = 1.0) -> None:
        if weight < 0:
            raise ValueError(f"HistoricalAveraging needs weight >= 0, got {weight}.")
        self.weight, self.steps = weight, 0
        self.means: dict[str, list[Tensor]] = {}

    def critic_term(self, move: Round) -> Penalty | None:
        """Return the term of the critic's parameters."""
        term = self._term("critic", move.critic)
        return None if term is None else Penalty(term)

    def generator_term(self, move: Round) -> Tensor | None:
        """Return the term of the generator's parameters."""
        return self._term("generator", move.model)

    @torch.no_grad()
    def after_step(self, model: nn.Module, critic: nn.Module) -> None:
        """Move the averages on by one step."""
        self.steps += 1
        for player, module in (("generator", model), ("critic", critic)):
            own = [p.detach() for p in tensors_of(module)[0]]
            if player not in self.means:
                self.means[player] = [p.clone() for p in own]
            else:
                torch._foreach_lerp_(self.means[player], own, 1 / self.steps)

    def state_dict(self) -> dict[str, Any]:
        """Return the averages."""
        return {"steps": self.steps, "means": {name: list(means) for name, means in self.means.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from averages."""
        self.steps = state["steps"]
        self.means = {name: [m.clone() for m in means] for name, means in state["means"].items()}

    def _term(self, player: str, module: nn.Module) -> Tensor | None:
        if player not in self.means:
            return None
        pairs = zip(tensors_of(module)[0], self.means[player], strict=True)
        distances = [(p - mean).square().sum() for p, mean in pairs]
        return self.weight * torch.stack(distances).sum()

    def __repr__(self) -> str:
        return f"HistoricalAveraging({self.weight})"
