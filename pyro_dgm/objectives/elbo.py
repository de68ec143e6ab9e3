"""The evidence lower bound of a model and its guide as a loss module."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from pyro import poutine
from pyro.infer import Trace_ELBO
from pyro.poutine.util import site_is_subsample
from torch import Tensor, nn

from pyro_dgm.guides import Empty
from pyro_dgm.naming import unregistered
from pyro_dgm.objectives.batch import Batch, as_batch

__all__ = ["ELBO"]


class ELBO(nn.Module):
    r"""Negative evidence lower bound of a batch, in nats per row.

    .. math:: -\frac{1}{N} E_{q(z)}\left[\log p(x, z) - \log q(z)\right]

    with the plate's scale for a batch of ``n`` out of ``N`` rows. With the guide
    :class:`~pyro_dgm.guides.Empty` it is the exact negative log-likelihood :math:`J_{ML}`, and one run of
    the model is enough. It is what ``Trace_ELBO`` computes, divided by the number of rows.

    Args:
        model: A Pyro model that is an ``nn.Module``, called as ``model(x, context, size=N, index=index)``;
            arguments that it does not take are left out.
        guide: Its guide, called in the same way. The model's own ``guide`` if there is one, by default.
        estimator: A Pyro ELBO such as ``TraceMeanField_ELBO()``, for other estimates of the bound.

    Attributes:
        terms: The parts of the last loss, in nats per row, without gradients: the negative log-likelihood as
            ``J_ML`` and each ``penalty_*`` for models with an empty guide; empty for others.

    Raises:
        TypeError: If model or guide is no ``nn.Module``, or there is no guide.

    Example:
        >>> from pyro_dgm.flows import RealNVP
        >>> from pyro_dgm.models import NormalizingFlow
        >>> loss = ELBO(NormalizingFlow(RealNVP(2)))
        >>> loss(torch.zeros(4, 2)).item()  # a fresh flow is the identity: log(2 pi)
        1.837...
    """

    def __init__(
        self, model: nn.Module, guide: nn.Module | None = None, *, estimator: Trace_ELBO | None = None
    ) -> None:
        super().__init__()
        guide = getattr(model, "guide", None) if guide is None else guide
        self.model = _module("model", model)
        self.guide = _module("guide", guide)
        self.estimator = Trace_ELBO() if estimator is None else estimator
        self.terms: dict[str, Tensor] = {}
        self._exact = isinstance(guide, Empty) and estimator is None
        self._accepted = _accepted_keywords(self.model, *([] if self._exact else [self.guide]))

    def forward(self, batch: Batch | Tensor) -> Tensor:
        """Return the loss of the batch, a scalar in nats per row."""
        batch = as_batch(batch)
        args, kwargs = self._arguments(batch)
        rows = kwargs.get("size") or len(batch.x)
        with unregistered():
            if self._exact:
                return self._negative_log_joint(args, kwargs, rows)
            loss = self.estimator.differentiable_loss(self.model, self.guide, *args, **kwargs)
        return loss / rows  # type: ignore[no-any-return]

    @torch.no_grad()
    def evaluate_loss(self, batch: Batch | Tensor) -> float:
        """Return the loss of the batch as a float, without gradients and in evaluation mode."""
        from pyro_dgm.models import evaluating

        with evaluating(self):
            return self(batch).item()  # type: ignore[no-any-return]

    @torch.no_grad()
    def blame(self, batch: Batch | Tensor) -> str | None:
        """Name the first site of model or guide whose log-density is not finite on the batch, if any."""
        args, kwargs = self._arguments(as_batch(batch))
        with unregistered():
            guide_trace = poutine.trace(self.guide).get_trace(*args, **kwargs)
            replayed = poutine.replay(self.model, trace=guide_trace)
            model_trace = poutine.trace(replayed).get_trace(*args, **kwargs)
            for trace in (guide_trace, model_trace):
                for name, site in trace.nodes.items():
                    if site["type"] == "sample" and not _is_finite(site):
                        return str(name)
        return None

    def _arguments(self, batch: Batch) -> tuple[tuple[Tensor, ...], dict[str, Any]]:
        given = {"context": batch.context, "size": batch.size, "index": batch.index}
        accepted = {key: value for key, value in given.items() if value is not None and key in self._accepted}
        return (batch.x,), accepted

    def _negative_log_joint(self, args: Any, kwargs: Any, rows: int) -> Tensor:
        trace = poutine.trace(self.model).get_trace(*args, **kwargs)
        trace.compute_log_prob()
        total: Tensor | None = None
        self.terms = {}
        for name, site in trace.nodes.items():
            if site["type"] != "sample" or site_is_subsample(site):
                continue
            if not site["is_observed"]:
                raise TypeError(
                    f"the model has a latent site {name!r}, but its guide is Empty: pass a guide that "
                    f"samples it."
                )
            term = site["log_prob_sum"] / -rows
            key = name if name.startswith("penalty_") else "J_ML"
            self.terms[key] = self.terms[key] + term.detach() if key in self.terms else term.detach()
            total = term if total is None else total + term
        if total is None:
            raise TypeError("the model has no sample site to fit: it needs pyro.sample(..., obs=x).")
        return total


def _module(role: str, part: Any) -> nn.Module:
    if isinstance(part, nn.Module):
        return part
    raise TypeError(
        f"ELBO needs a {role} that is an nn.Module, whose parameters it can find, but got {part!r}. "
        f"Write the {role} as a PyroModule, or train plain functions with pyro.infer.SVI."
    )


def _is_finite(site: Mapping[str, Any]) -> bool:
    try:
        log_prob = site["fn"].log_prob(site["value"])
    except (NotImplementedError, ValueError):
        return isinstance(site["value"], Tensor) and bool(site["value"].isfinite().all())
    return bool(torch.as_tensor(log_prob).isfinite().all())


def _accepted_keywords(*modules: nn.Module) -> set[str]:
    """The keywords among context, size and index that all of the modules take."""
    accepted = {"context", "size", "index"}
    for module in modules:
        parameters = inspect.signature(module.forward).parameters.values()
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            accepted &= {p.name for p in parameters}
    return accepted
