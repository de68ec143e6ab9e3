"""The two players of an adversarial game: each a loss module that owns one network and borrows the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pyro
import torch
from pyro import poutine
from pyro.nn import PyroModule
from torch import Tensor, nn

from pyro_dgm.errors import DataError, ShapeError
from pyro_dgm.models import ImplicitGenerator
from pyro_dgm.naming import unregistered
from pyro_dgm.nets.row_mixing import treats_rows_alone
from pyro_dgm.objectives.batch import Batch
from pyro_dgm.objectives.losses import AdversarialLoss
from pyro_dgm.objectives.regulariser import Penalty, Regulariser, Round, Score

__all__ = ["CriticLoss", "CriticTerms", "Fakes", "GeneratorLoss", "Scores"]


class Fakes:
    """Draws rows of a Pyro model, as many as the batch has, leaving no trace in Pyro.

    The model runs under a block, on a parameter store of its own: what trains is ``model.parameters()``.
    This is not a module, so that its owner does not register the model.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self._plain = _is_plain(model)

    def __call__(self, batch: Batch) -> Tensor:
        """Return rows of the shape of ``batch.x``, with gradients where they are enabled."""
        conditions = {} if batch.context is None else {"context": batch.context}
        if self._plain and not (self.model._forward_hooks or self.model._forward_pre_hooks):
            fake = self.model.draw(len(batch.x), **conditions)  # type: ignore[operator]
            self._check(fake, batch, {})
            return fake  # type: ignore[no-any-return]
        with pyro.get_param_store().scope() as store, poutine.block(), unregistered():
            fake = self.model(num=len(batch.x), **conditions)
        self._check(fake, batch, store["params"])
        return fake  # type: ignore[no-any-return]

    def _check(self, fake: Tensor, batch: Batch, stored: dict[str, Tensor]) -> None:
        if fake.shape != batch.x.shape:
            raise ShapeError(
                f"the model draws rows of shape {tuple(fake.shape[1:])} ({tuple(fake.shape)} for "
                f"num={len(batch.x)}), but the data have rows of shape {tuple(batch.x.shape[1:])}. Reshape "
                f"the data, or give the generator the shape of the data."
            )
        if stored:
            own = {id(p) for p in self.model.parameters()}
            strangers = sorted(name for name, p in stored.items() if id(p) not in own)
            if strangers:
                raise TypeError(
                    f"the model has pyro.param statements ({', '.join(strangers)}) that adversarial training "
                    "cannot see. Make them attributes of the model: nn.Parameter, or pyro.nn.PyroParam."
                )


class Scores:
    """Applies a critic and checks that it gives one number for each row. Not a module, as :class:`Fakes`."""

    def __init__(self, critic: nn.Module) -> None:
        self.critic = critic

    def __call__(self, x: Tensor, batch: Batch) -> Tensor:
        """Return the scores of rows ``x``, of shape ``(n,)``, given the context of ``batch``."""
        scores: Tensor = self.critic(x) if batch.context is None else self.critic(x, batch.context)
        if scores.shape != x.shape[:1]:
            raise ShapeError(
                f"a critic must give one score for each row, here shape ({len(x)},), but gave "
                f"{tuple(scores.shape)} for x of shape {tuple(x.shape)}. Remove the last dimension with "
                f".squeeze(-1), or sum over it."
            )
        return scores


class CriticTerms(NamedTuple):
    """The critic's loss and what it consists of; all but ``loss`` without gradients.

    Attributes:
        loss: What the critic minimises: minus its value, plus the penalties.
        value: What it would maximise without penalties.
        penalty: Sum of the weighted penalties; None without any.
        slope: Largest gradient norm that a penalty met; None if none met one.
        real: Mean readout of real rows.
        fake: Mean readout of generated rows.
        js_bound: Lower bound of the JS divergence, None in games without probabilities.
    """

    loss: Tensor
    value: Tensor
    penalty: Tensor | None
    slope: Tensor | None
    real: Tensor
    fake: Tensor
    js_bound: Tensor | None


class CriticLoss(nn.Module):
    """The critic's loss of a batch. Its parameters are those of the critic alone.

    Args:
        critic: The network that trains.
        model: The generator, borrowed: it is not registered here, and runs without gradients.
        loss: The game.
        regularisers: Terms and perturbations of the game.
    """

    def __init__(
        self,
        critic: nn.Module,
        model: nn.Module,
        loss: AdversarialLoss,
        regularisers: Sequence[Regulariser] = (),
    ) -> None:
        super().__init__()
        self.critic, self.loss, self.regularisers = critic, loss, tuple(regularisers)
        self.fakes, self.scores = Fakes(model), Scores(critic)
        self.joined = treats_rows_alone(critic)

    def forward(self, batch: Batch) -> CriticTerms:
        """Return the loss of real rows ``batch.x`` and as many generated ones, with its parts."""
        with torch.no_grad():
            fake = _perturbed(self.fakes(batch), self.regularisers)
            real = _perturbed(batch.x, self.regularisers)
        on_real, on_fake = self._both(real, fake, batch)
        against = self.loss.critic_of_rows(on_real, on_fake, real, fake)
        move = Round(batch, real, fake, _score(self.scores, batch), self.critic, self.fakes.model)
        terms = [term for r in self.regularisers if (term := r.critic_term(move)) is not None]
        loss = sum((term.loss for term in terms), against)
        with torch.no_grad():
            return CriticTerms(
                loss,
                -against.detach(),
                torch.stack([term.loss.detach() for term in terms]).sum() if terms else None,
                _largest_slope(terms),
                self.loss.readout(on_real).mean(),
                self.loss.readout(on_fake).mean(),
                self.loss.js_bound(on_real, on_fake),
            )

    def _both(self, real: Tensor, fake: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Score real and generated rows: in one pass where no row can feel another.

        Otherwise in two, so that batch normalisation meets what it meets in the generator's move.
        """
        if self.joined:
            context = () if batch.context is None else (torch.cat((batch.context, batch.context)),)
            both = self.critic(torch.cat((real, fake)), *context)
            if both.shape == (2 * len(real),):
                return both[: len(real)], both[len(real) :]
        return self.scores(real, batch), self.scores(fake, batch)


class GeneratorLoss(nn.Module):
    """The generator's loss of a batch. Its parameters are those of the model alone.

    Args:
        model: The generator, any Pyro model whose draws ``model(num=n)`` carry gradients.
        critic: The critic, borrowed: it is not registered here.
        loss: The game.
        regularisers: Terms and perturbations of the game.
    """

    def __init__(
        self,
        model: nn.Module,
        critic: nn.Module,
        loss: AdversarialLoss,
        regularisers: Sequence[Regulariser] = (),
    ) -> None:
        super().__init__()
        self.model, self.loss, self.regularisers = model, loss, tuple(regularisers)
        self.replaced = any(r.replaces_generator_loss for r in self.regularisers)
        self.fakes, self.scores = Fakes(model), Scores(critic)

    def forward(self, batch: Batch) -> Tensor:
        """Return the loss of as many generated rows as the batch has."""
        fake = self.fakes(batch)
        if torch.is_grad_enabled() and not fake.requires_grad:
            raise DataError(
                "the draws model(num=n) carry no gradient, so that nothing can train. Every site between the "
                "parameters and x must be reparameterised: no discrete site, no detach, no frozen model."
            )
        real, fake = (_perturbed(rows, self.regularisers) for rows in (batch.x, fake))
        score = _score(self.scores, batch)
        move = Round(batch, real, fake, score, self.scores.critic, self.model)
        terms = [term for r in self.regularisers if (term := r.generator_term(move)) is not None]
        if self.replaced:
            return torch.stack(terms).sum()
        return sum(terms, self.loss.generator_of_rows(score, real, fake))


def _score(scores: Scores, batch: Batch) -> Score:
    return lambda rows: scores(rows, batch)


def _perturbed(rows: Tensor, regularisers: Sequence[Regulariser]) -> Tensor:
    for regulariser in regularisers:
        rows = regulariser.perturbed(rows)
    return rows


def _largest_slope(terms: Sequence[Penalty]) -> Tensor | None:
    slopes = [term.slope for term in terms if term.slope is not None]
    return torch.stack(slopes).max() if slopes else None


def _is_plain(model: nn.Module) -> bool:
    """Whether the model is known to draw as its ``draw`` does, so that Pyro's handlers can be spared."""
    inner = (part for part in model.modules() if part is not model)
    return type(model) is ImplicitGenerator and not any(isinstance(part, PyroModule) for part in inner)
