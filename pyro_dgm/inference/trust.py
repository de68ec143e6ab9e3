"""Can this posterior be trusted? One verdict, and the figures behind it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyro_dgm.diagnostics.audit_report import Check
from pyro_dgm.errors import DataError, ShapeError
from pyro_dgm.inference.draws_of import draws_of
from pyro_dgm.inference.program import Program
from pyro_dgm.inference.trust_checks import draw_checks, left_out_check, row_checks
from pyro_dgm.inference.trust_report import TrustReport
from pyro_dgm.models import VAE
from pyro_dgm.models.generative_model import seeded

__all__ = ["trust"]


def trust(
    posterior: Any,
    model: Callable[..., Any] | None = None,
    *args: Any,
    num_samples: int = 4000,
    per_row: bool | None = None,
    seed: int | None = 0,
    chunk: int = 1000,
    vectorize: bool = True,
    **kwargs: Any,
) -> TrustReport:
    r"""Judge a posterior by what its kind allows.

    A guide, or importance draws, by the weights :math:`p(x, z) / q(z)`: the tail of their distribution
    (Pareto :math:`\hat k`), how many independent draws they are worth, by how much the weighted evidence
    exceeds the ELBO, and how far the weights move the means. An amortized guide of a VAE by the weights of
    each row. Chains by :math:`\hat R`, their effective sample size and divergences. All of them by how well
    each datum is predicted from the others, where the model scores data one by one. What could not be judged
    is listed too, with what would be needed.

    Args:
        posterior: Whatever :func:`~pyro_dgm.inference.draws_of` takes. Of a VAE it is ``vae.guide``.
        model: The model, with the data in its arguments or conditioned.
        *args: Arguments of model and guide.
        num_samples: Number of draws; of each row, if rows have weights of their own.
        per_row: Whether each row has a latent and weights of its own, as in a VAE; found out by default.
        seed: Seed of the draws, which then leaves the global random state as it was.
        chunk: Draws made at a time, or rows times draws: it bounds the memory.
        vectorize: Whether model and guide may run once for many draws.
        **kwargs: Keyword arguments of model and guide.

    Raises:
        TypeError: If this is no posterior, or a plain guide without its model.

    Reference:
        Yao, Vehtari, Simpson and Gelman, Yes, but Did It Work? Evaluating Variational Inference, ICML 2018.
        https://arxiv.org/abs/1802.02538

    Example:
        >>> import pyro, torch
        >>> import pyro.distributions as dist
        >>> def model():
        ...     pyro.sample("z", dist.Normal(0.0, 1.0))
        >>> def guide():
        ...     pyro.sample("z", dist.Normal(0.0, 0.1))
        >>> trust(guide, model).trusted
        False
    """
    subject = f"this {_kind(posterior)}"
    how: dict[str, Any] = {"chunk": chunk, "vectorize": vectorize}
    if isinstance(model, VAE) if per_row is None else per_row:
        return TrustReport(subject, tuple(row_checks(model, posterior, args, num_samples, chunk, seed)))
    with seeded(seed):
        try:
            drawn = draws_of(posterior, model, *args, num_samples=num_samples, **how, **kwargs)
        except (DataError, ShapeError) as error:
            return TrustReport(subject, (Check.impossible("weights", "importance weights", str(error)),))
        program = None if model is None else Program(model, *args, **how, **kwargs)
        return TrustReport(subject, (*draw_checks(drawn), left_out_check(drawn, program)))


def _kind(posterior: Any) -> str:
    name = type(posterior).__name__
    return {"function": "guide", "dict": "sample"}.get(name, name)
