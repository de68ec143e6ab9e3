"""The evidence lower bound of a model and its guide as a loss module."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, cast

import torch
from pyro import poutine
from pyro.infer import Trace_ELBO
from pyro.infer.autoguide import AutoGuide
from pyro.poutine.util import site_is_subsample
from torch import Tensor, nn

from pyro_dgm.arguments import explains_options, positive_int
from pyro_dgm.errors import ArgumentTypeError, DataError, PyroDGMError
from pyro_dgm.flows import Flow
from pyro_dgm.guides import AmortizedGuide, Empty
from pyro_dgm.models import VAE, GenerativeModel
from pyro_dgm.naming import unregistered
from pyro_dgm.objectives.batch import Batch, as_batch
from pyro_dgm.objectives.latent_bound import KL, KLTerm, LatentBound, is_direct

__all__ = ["ELBO"]


class ELBO(nn.Module):
    r"""Negative evidence lower bound of a batch, in nats per row.

    .. math:: -\frac{1}{N} E_{q(z)}\left[\log p(x, z) - \log q(z)\right]

    with the plate's scale for a batch of ``n`` out of ``N`` rows. With the guide
    :class:`~pyro_dgm.guides.Empty` it is the exact negative log-likelihood :math:`J_{ML}`, and one run of
    the model is enough. It is what ``Trace_ELBO`` computes, divided by the number of rows. For a
    :class:`~pyro_dgm.models.VAE` with an amortized guide the same number is computed without recording the
    two programs, and the divergence can enter in other ways:

    .. math:: E_{q(z|x)}[-\log p(x|z)] + \beta \, KL(q(z|x) \,\|\, p(z))

    Args:
        model: A Pyro model that is an ``nn.Module``, called as
            ``model(x, context, size=N, index=index, mask=mask)``; arguments that it does not take are left
            out, but a mask of missing entries is refused.
        guide: Its guide, called in the same way. The model's own ``guide`` if there is one, by default.
        estimator: A Pyro ELBO such as ``TraceMeanField_ELBO()``, for other estimates of the bound.
        num_particles: Number of draws of each row, over which the bound is averaged.
        kl: ``"sampled"`` or ``"analytic"``: a VAE's divergence at the draws, or in closed form, which has
            less variance.
        beta: Factor of a VAE's divergence; the loss is no bound below 1.
        warm_up: Number of training steps over which that factor rises linearly from 0.
        free_bits: Nats that the divergence of each latent dimension may have, on average over the batch,
            without cost. Warm-up and free bits act in training mode alone.

    Attributes:
        terms: The parts of the last loss, in nats per row, without gradients: for models with an empty guide
            the negative log-likelihood as ``J_ML`` and each ``penalty_*``, for a VAE ``reconstruction`` and
            ``kl``; empty for others. After them the ``costs`` that a flow's penalties weigh, such as
            ``kinetic``, each in its own unit.

    Raises:
        TypeError: If model or guide is no ``nn.Module``, there is no guide, or an option is for VAEs alone.

    Reference:
        Higgins et al., beta-VAE, ICLR 2017. https://openreview.net/forum?id=Sy2fzU9gl
        Sønderby et al., Ladder Variational Autoencoders, NeurIPS 2016 (warm-up).
        https://arxiv.org/abs/1602.02282
        Kingma et al., Improving Variational Inference with Inverse Autoregressive Flow, NeurIPS 2016 (free
        bits). https://arxiv.org/abs/1606.04934

    Example:
        >>> from pyro_dgm.flows import RealNVP
        >>> from pyro_dgm.models import NormalizingFlow
        >>> loss = ELBO(NormalizingFlow(RealNVP(2)))
        >>> loss(torch.zeros(4, 2)).item()  # a fresh flow is the identity: log(2 pi)
        1.837...
    """

    steps: Tensor

    @explains_options
    def __init__(
        self,
        model: nn.Module,
        guide: nn.Module | None = None,
        *,
        estimator: Trace_ELBO | None = None,
        num_particles: int = 1,
        kl: KL = "sampled",
        beta: float = 1.0,
        warm_up: int = 0,
        free_bits: float = 0.0,
    ) -> None:
        super().__init__()
        guide = getattr(model, "guide", None) if guide is None else guide
        num_particles = positive_int("num_particles", num_particles)
        self.model = _module("model", model)
        if isinstance(model, Empty | AmortizedGuide | AutoGuide):
            raise ArgumentTypeError(
                f"ELBO(model, guide) was given the guide {type(model).__name__} as its model: swap the two."
            )
        if guide is None:
            raise ArgumentTypeError(_NO_GUIDE.format(name=type(model).__name__) + _instead_of(model))
        self.guide = _module("guide", guide)
        self.terms: dict[str, Tensor] = {}
        self._exact = isinstance(guide, Empty) and estimator is None
        term = KLTerm(kl, beta, warm_up, free_bits)
        self._bound = LatentBound(term, num_particles) if estimator is None else None
        self._plain = term == KLTerm()
        if not self._plain and (estimator is not None or not is_direct(model, guide)):
            raise TypeError(
                "kl, beta, warm_up and free_bits are options for a VAE with an amortized guide, whose "
                "divergence is known as such. Elsewhere use estimator=TraceMeanField_ELBO() or poutine.scale."
            )
        if warm_up:
            self.register_buffer("steps", torch.zeros((), dtype=torch.long))
        if estimator is None:
            several = num_particles > 1
            estimator = Trace_ELBO(num_particles=num_particles, vectorize_particles=several)
        self.estimator = estimator
        self._accepted = _accepted_keywords(self.model, *([] if self._exact else [self.guide]))

    def forward(self, batch: Batch | Tensor) -> Tensor:
        """Return the loss of the batch, a scalar in nats per row."""
        batch = as_batch(batch)
        args, kwargs = self.arguments(batch)
        rows = kwargs.get("size") or len(batch.x)
        try:
            return self._loss(batch, args, kwargs, rows)
        except ValueError as error:
            # Pyro wraps what a distribution raises, with all shapes of the trace
            if isinstance(error.__cause__, PyroDGMError):
                raise error.__cause__ from None
            finite = batch.x.isfinite()
            if not finite.all() and not isinstance(error, PyroDGMError):
                row = int((~finite).flatten(1).any(1).nonzero()[0])
                raise DataError(f"the batch is not finite in row {row}: {batch.x[row].tolist()}.") from error
            raise

    def _loss(self, batch: Batch, args: Any, kwargs: Any, rows: int) -> Tensor:
        with unregistered():
            if self._exact:
                return self._negative_log_joint(args, kwargs, rows)
            if self._bound is not None and is_direct(self.model, self.guide):
                return self._of_vae(self._bound, batch)
            if not self._plain:
                raise TypeError("beta, warm_up, free_bits and kl cannot act inside a Pyro handler.")
            if not torch.is_grad_enabled():  # some estimators refuse to be asked for a loss without gradients
                value: float = self.estimator.loss(self.model, self.guide, *args, **kwargs)
                dtype = batch.x.dtype if batch.x.is_floating_point() else torch.get_default_dtype()
                return batch.x.new_tensor(value / rows, dtype=dtype)
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
        args, kwargs = self.arguments(as_batch(batch))
        with unregistered():
            guide_trace = poutine.trace(self.guide).get_trace(*args, **kwargs)
            replayed = poutine.replay(self.model, trace=guide_trace)
            model_trace = poutine.trace(replayed).get_trace(*args, **kwargs)
            for trace in (guide_trace, model_trace):
                for name, site in trace.nodes.items():
                    if site["type"] == "sample" and not _is_finite(site):
                        return str(name)
        return None

    def _of_vae(self, bound: LatentBound, batch: Batch) -> Tensor:
        steps = int(self.steps) if bound.term.warm_up else 0
        loss, self.terms = bound(
            cast(VAE, self.model),
            cast(AmortizedGuide, self.guide),
            batch,
            steps=steps,
            training=self.training,
        )
        if bound.term.warm_up and self.training:
            self.steps += 1
        return loss

    def arguments(self, batch: Batch) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return what model and guide are called with for a batch."""
        given = {"size": batch.size, "index": batch.index, "mask": batch.mask}
        if batch.mask is not None and "mask" not in self._accepted:
            raise ArgumentTypeError(
                f"the batch has a mask of missing entries, but {type(self.model).__name__}.forward, or its "
                "guide's, takes no mask=. A VAE does; in a model of your own add the argument to both, and "
                "leave out what is missing by its likelihood's .mask(mask)."
            )
        accepted = {key: value for key, value in given.items() if value is not None and key in self._accepted}
        # by position: Pyro's enumeration has a keyword of its own called context
        with_context = batch.context is not None and "context" in self._accepted
        return ((batch.x, batch.context) if with_context else (batch.x,)), accepted

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
        self.terms |= getattr(self.model, "costs", {})
        return total


_NO_GUIDE = "ELBO needs a guide that is an nn.Module, but {name} has none and none came. "


def _instead_of(model: nn.Module) -> str:
    """What to do with a model that has no guide."""
    if isinstance(model, Flow):
        return "A flow is a distribution to build models with: ELBO(NormalizingFlow(flow))."
    if isinstance(model, GenerativeModel) and not (
        model.capabilities.has_log_prob or model.capabilities.has_bound or isinstance(model, VAE)
    ):
        return "It has no density: train it by objectives.Adversarial(model, critic)."
    return "Pass ELBO(model, guide), such as guides.AmortizedNormal(encoder) for a VAE."


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
    """The keywords among context, size, index and mask that all of the modules take."""
    accepted = {"context", "size", "index", "mask"}
    for module in modules:
        parameters = inspect.signature(module.forward).parameters.values()
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            accepted &= {p.name for p in parameters}
    return accepted
