"""What a step of an adversarial game reports."""

from __future__ import annotations

from typing import NamedTuple

import torch

from pyro_dgm.objectives.players import CriticTerms

__all__ = ["AdversarialLosses"]


class AdversarialLosses(NamedTuple):
    """What one step, or one evaluation, measured; all before the update.

    Attributes:
        critic: The critic's loss, with its penalties.
        generator: The generator's loss; None where it was idle.
        value: What the critic maximises: for minimax and non-saturating games, ``E log d(x) +
            E log(1 - d(g(z)))`` in nats, of which ``value / 2 + log 2`` bounds the JS divergence from below;
            for the Wasserstein game ``E f(x) - E f(g(z))``, to be read beside ``slope``.
        penalty: The weighted penalties in ``critic``.
        slope: Largest gradient norm of the critic that a penalty met, or that a watch measured on
            interpolates; None where there was neither.
        real: Mean of ``d(x)``, or of the score for games without probabilities.
        fake: The same of ``g(z)``.
        critic_gradient: Norm of the gradient of the critic's loss; None in evaluation.
        generator_gradient: The same of the generator's; None where it was idle.
        js_bound: Lower bound of the JS divergence in nats, up to sampling error, at most log 2; None for
            games without probabilities.
        coverage: Share of held-out rows that the generator reaches; None where it was not measured.
    """

    critic: float
    generator: float | None
    value: float
    penalty: float
    slope: float | None
    real: float
    fake: float
    critic_gradient: float | None = None
    generator_gradient: float | None = None
    js_bound: float | None = None
    coverage: float | None = None

    @classmethod
    def of(
        cls,
        terms: CriticTerms,
        generator: float | None,
        critic_gradient: float | None = None,
        generator_gradient: float | None = None,
    ) -> AdversarialLosses:
        """Read the critic's terms off the device, all at once."""
        measured = {name: t.detach() for name, t in terms._asdict().items() if t is not None}
        numbers = dict(zip(measured, torch.stack(list(measured.values())).tolist(), strict=True))
        return cls(
            numbers["loss"],
            generator,
            numbers["value"],
            numbers.get("penalty", 0.0),
            numbers.get("slope"),
            numbers["real"],
            numbers["fake"],
            critic_gradient,
            generator_gradient,
            numbers.get("js_bound"),
        )
