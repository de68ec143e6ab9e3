"""The adversarial game between a sampler and a critic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from pyro_dgm.arguments import explains_options, positive_int
from pyro_dgm.errors import ArgumentTypeError, TrainingDiverged
from pyro_dgm.objectives.average import WeightAverage
from pyro_dgm.objectives.batch import Batch, as_whole_batch
from pyro_dgm.objectives.game_arguments import player_module, regularisers_of
from pyro_dgm.objectives.holding import holding, undone_on_error
from pyro_dgm.objectives.losses import AdversarialLoss, adversarial_loss
from pyro_dgm.objectives.normalisation import measure_statistics
from pyro_dgm.objectives.players import CriticLoss, CriticTerms, Fakes, GeneratorLoss
from pyro_dgm.objectives.ranges import check_range
from pyro_dgm.objectives.readings import AdversarialLosses
from pyro_dgm.objectives.regulariser import Regulariser
from pyro_dgm.objectives.updates import Player, updates_by_name
from pyro_dgm.objectives.watch import OnDivergence, Watch

__all__ = ["Adversarial"]


class Adversarial:
    r"""Trains the parameters of a sampler against a critic: the objective of models without a density.

    Each :meth:`step` is one update of the critic, and every ``critic_steps``-th also one of the generator.
    While one player trains, nothing of the other changes: no parameter, gradient, buffer or running
    statistic.

    The model need not be a network: any Pyro model in a module trains whose draws ``model(num=n)`` are
    differentiable in ``model.parameters()``, for instance a simulator. It runs under a Pyro block.

    Args:
        model: The generator, such as :class:`~pyro_dgm.models.ImplicitGenerator`.
        critic: Maps rows ``(n, *event)`` to scores ``(n,)``: logits, without a sigmoid.
        optimizers: The generator's optimiser, then the critic's. None, for one or both, is Adam with the
            settings published with the loss.
        loss: A name in :data:`~pyro_dgm.objectives.losses.LOSSES`, or a loss.
        regularisers: What steadies the game, such as ``[GradientPenalty(10.0)]``: see
            :class:`~pyro_dgm.objectives.regulariser.Regulariser`. Each belongs to one game.
        critic_steps: Updates of the critic for each one of the generator.
        updates: How the pair of optimisers moves: ``"alternating"``, ``"simultaneous"``,
            ``"extragradient"`` or ``"optimistic"``, see :mod:`~pyro_dgm.objectives.updates`.
        average: Decay of a running average of the generator's weights, such as 0.999, kept in
            :attr:`averaged`; None for none. For a generator with batch normalisation see
            :meth:`calibrate_average`.
        watch: The :class:`~pyro_dgm.objectives.watch.Watch` over the game, with its alarms; by default one
            that measures every 100 steps, without held-out data.
        on_divergence: What an alarm of the default watch does: ``"warn"``, ``"raise"`` or ``"ignore"``.

    Attributes:
        critic_loss: The critic's loss module, which registers the critic alone.
        generator_loss: The generator's loss module, which registers the model alone.
        steps: Number of steps so far.

    Raises:
        DataError: In the first step, if the data leave the generator's range.
        ShapeError: In a step, if the critic does not give one score a row, or generated rows do not have the
            shape of the data's.
        TrainingDiverged: In a step, if a loss or gradient is not finite. No update is then made with it.

    Reference:
        Goodfellow et al., Generative Adversarial Nets, NeurIPS 2014. https://arxiv.org/abs/1406.2661
        Gulrajani et al., Improved Training of Wasserstein GANs, NeurIPS 2017.
        https://arxiv.org/abs/1704.00028

    Example:
        >>> from pyro_dgm.models import ImplicitGenerator
        >>> gan = ImplicitGenerator(nn.Linear(2, 2), latent_dim=2)
        >>> critic = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1), nn.Flatten(0))
        >>> game = Adversarial(gan, critic, critic_steps=2)
        >>> [game.step(torch.randn(16, 2)).generator is None for _ in range(4)]
        [True, False, True, False]
    """

    @explains_options
    def __init__(
        self,
        model: nn.Module,
        critic: nn.Module,
        optimizers: tuple[Optimizer | None, Optimizer | None] | None = None,
        *,
        loss: str | AdversarialLoss = "non-saturating",
        regularisers: Sequence[Regulariser] = (),
        critic_steps: int = 1,
        updates: str = "alternating",
        average: float | None = None,
        watch: Watch | None = None,
        on_divergence: OnDivergence = "warn",
    ) -> None:
        critic_steps = positive_int("critic_steps", critic_steps)
        if optimizers is not None and not (isinstance(optimizers, tuple | list) and len(optimizers) == 2):
            raise ArgumentTypeError(
                "optimizers must be a pair, the generator's and the critic's, either of them None for the "
                f"default, but is a {type(optimizers).__name__}."
            )
        self.model, self.critic = player_module(model, "model"), player_module(critic, "critic")
        self.critic_steps = critic_steps
        self.loss = adversarial_loss(loss)
        self.updates = updates_by_name(updates)
        self.regularisers = regularisers_of(regularisers)
        for regulariser in self.regularisers:
            regulariser.check(critic)
        self.critic_loss: nn.Module = CriticLoss(critic, model, self.loss, self.regularisers)
        self.generator_loss: nn.Module = GeneratorLoss(model, critic, self.loss, self.regularisers)
        given = (None, None) if optimizers is None else optimizers
        self.optimizers = (
            given[0] or self._adam(model, "model"),
            given[1] or self._adam(critic, "critic"),
        )
        self.average = None if average is None else WeightAverage(model, average)
        self.watch = Watch(on_divergence=on_divergence) if watch is None else watch
        self.steps = 0

    @property
    def averaged(self) -> nn.Module:
        """The model to sample from: with averaged weights if they are kept, else the model itself."""
        return self.model if self.average is None else self.average.model

    def step(self, batch: Batch | Tensor) -> AdversarialLosses:
        """Update the critic once, and every ``critic_steps``-th time also the generator."""
        batch = as_whole_batch(batch, "Adversarial")
        if self.steps == 0:
            check_range(self.model, batch.x)
        seen: dict[str, Any] = {}
        players = [self._critic(batch, seen)]
        moves = (self.steps + 1) % self.critic_steps == 0
        if moves:
            players.append(self._generator(batch, seen))
        self.updates.play(players)
        if moves and self.average is not None:
            self.average.update(self.model)
        for regulariser in self.regularisers:
            regulariser.after_step(self.model, self.critic)
        self.steps += 1
        losses = _reading(seen)
        return self.watch.observe(self.steps - 1, losses, batch, self.averaged, self.critic)

    @torch.no_grad()
    def evaluate_loss(self, batch: Batch | Tensor) -> AdversarialLosses:
        """Measure both losses on a batch, in the mode the networks are in, and change nothing of them."""
        batch = as_whole_batch(batch, "Adversarial")
        with holding(self.model, self.critic):
            terms: CriticTerms = self.critic_loss(batch)
            return AdversarialLosses.of(terms, float(self.generator_loss(batch)))

    def calibrate_average(self, batch: Batch | Tensor, *, passes: int = 50) -> None:
        """Give the averaged generator's batch normalisation the statistics of its own draws.

        Running statistics are those of weights that move, and weights averaged along the way have others:
        the average can then draw much worse than the generator does in training. Call this before drawing
        from :attr:`averaged`; the game goes on as it would have. Without batch normalisation, or without an
        average, nothing changes.

        Args:
            batch: As for :meth:`step`: how many rows to draw at a time, and for which context.
            passes: Number of batches drawn.
        """
        if self.average is not None:
            batch, fakes = as_whole_batch(batch, "Adversarial"), Fakes(self.average.model)
            measure_statistics(self.average.model, lambda: fakes(batch), passes, self.steps)

    def train(self, mode: bool = True) -> Adversarial:
        """Set the mode of both networks."""
        self.model.train(mode)
        self.critic.train(mode)
        return self

    def state_dict(self) -> dict[str, Any]:
        """Return what a later run needs to go on from here: networks, optimisers, average, counts."""
        average = self.average
        return {
            "model": self.model.state_dict(),
            "critic": self.critic.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "average": None if average is None else (average.model.state_dict(), average.steps),
            "regularisers": [regulariser.state_dict() for regulariser in self.regularisers],
            "updates": self.updates.state_dict(),
            "watch": self.watch.state_dict(),
            "steps": self.steps,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a :meth:`state_dict` of the same architecture."""
        self.model.load_state_dict(state["model"])
        self.critic.load_state_dict(state["critic"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        if self.average is not None:
            weights, self.average.steps = state["average"]
            self.average.model.load_state_dict(weights)
        for regulariser, saved in zip(self.regularisers, state["regularisers"], strict=True):
            regulariser.load_state_dict(saved)
        self.updates.load_state_dict(state["updates"])
        self.watch.load_state_dict(state["watch"])
        self.steps = state["steps"]

    def _critic(self, batch: Batch, seen: dict[str, Any]) -> Player:
        def gradient() -> None:
            with holding(self.model), undone_on_error(self.critic):
                terms: CriticTerms = self.critic_loss(batch)
                norm = self._gradient("critic", terms.loss, self.optimizers[1])
            seen.setdefault("critic", (terms, norm))

        def settle() -> None:
            for regulariser in self.regularisers:
                regulariser.after_critic_update(self.critic)

        return Player(gradient, self.optimizers[1], settle)

    def _generator(self, batch: Batch, seen: dict[str, Any]) -> Player:
        def gradient() -> None:
            with holding(self.critic), undone_on_error(self.model):
                loss: Tensor = self.generator_loss(batch)
                norm = self._gradient("generator", loss, self.optimizers[0])
            seen.setdefault("generator", (loss.detach(), norm))

        return Player(gradient, self.optimizers[0], lambda: None)

    def _gradient(self, player: str, loss: Tensor, optimizer: Optimizer) -> float:
        """Fill the player's gradients and return their norm; raise if loss or norm is not finite."""
        self._check_finite(player, "loss", loss, loss)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        own = [p for group in optimizer.param_groups for p in group["params"]]
        norms = torch._foreach_norm([p.grad for p in own if p.grad is not None])
        norm: Tensor = torch.linalg.vector_norm(torch.stack(norms))
        self._check_finite(player, "gradient", norm, loss)
        return float(norm)

    def _check_finite(self, player: str, what: str, value: Tensor, loss: Tensor) -> None:
        if not math.isfinite(number := float(value.detach())):
            raise TrainingDiverged(
                f"the {player}'s {what} is {number} at step {self.steps}; its parameters are those of "
                "the last finite step. Lower its learning rate, check the data for outliers, or add "
                "GradientPenalty() to the regularisers.",
                step=self.steps,
                loss=float(loss.detach()),
                where=player,
            )

    def _adam(self, module: nn.Module, player: str) -> Optimizer:
        parameters = [p for p in module.parameters() if p.requires_grad]
        if not parameters:
            raise ValueError(f"the {player} has no parameter to train. Unfreeze it, or pass its optimiser.")
        return Adam(parameters, lr=self.loss.lr, betas=self.loss.betas, fused=True)


def _reading(seen: dict[str, Any]) -> AdversarialLosses:
    """What the players met at the point where the step began."""
    terms, critic_gradient = seen["critic"]
    loss, gradient = seen.get("generator", (None, None))
    return AdversarialLosses.of(terms, None if loss is None else float(loss), critic_gradient, gradient)
