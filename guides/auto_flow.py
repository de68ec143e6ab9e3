"""The automatic guide whose posterior is a flow."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from pyro.infer.autoguide import AutoContinuous
from pyro.infer.autoguide.initialization import init_to_median
from torch import Tensor
from torch.distributions import biject_to

from pyro_dgm.distributions import FlowDistribution, PathFlowDistribution
from pyro_dgm.errors import DataError, ShapeError
from pyro_dgm.flows import Composition, Flow, RealNVP, Whitened
from pyro_dgm.naming import NamedPyroModule, unique_name
from pyro_dgm.nets import MLP
from pyro_dgm.transforms import Bijection, OnePass

__all__ = ["AutoFlow", "default_flow"]


def default_flow(latent_dim: int) -> Flow:
    """The flow of :class:`AutoFlow` by default: affine couplings that learn slowly.

    They are smooth, which gradients without the score term need, and cheap in both directions. What starts
    narrower than the posterior pushes every layer outward at once, and the product of six that stretch by e^3
    leaves the range of numbers within five steps. Here the affine map gets there first: each coupling
    stretches by e^1.75 at most, and all layers of its network but the first learn at a tenth of the rate. The
    left part of the vector, which decides first, is one coordinate in two couplings and a quarter in four:
    models sample first what the other sites hang on.

    Reference:
        Andrade, Stable Training of Normalizing Flows for High-dimensional Variational Inference, 2024 (bounds
        of stretching). https://arxiv.org/abs/2402.16408
    """
    if latent_dim < 8:
        return _couplings(latent_dim, 6, 1)
    return Composition(latent_dim, [_couplings(latent_dim, 2, 1), _couplings(latent_dim, 4, latent_dim // 4)])


def _couplings(latent_dim: int, num_layers: int, split: int) -> Flow:
    def conditioner(kept: int, changed: int, context_dim: int) -> MLP:
        return MLP(kept, changed, (64, 64), context_dim=context_dim, zero_last=True, later_rate=0.1)

    return RealNVP(latent_dim, num_layers=num_layers, max_stretch=1.75, split=split, conditioner=conditioner)


class AutoFlow(NamedPyroModule, AutoContinuous):
    """Automatic guide for any Pyro model with continuous latents: the joint posterior is a flow.

    Every latent site is carried to unbounded space, the sites are laid side by side as one vector, and a flow
    is its distribution. In front of the flow stands a trainable affine map with full covariance, which starts
    at the sites' initial values: the flow has only to learn what is not normal.

    It is built at the first call, which runs the model once, and is used like any AutoGuide of Pyro: with
    ``SVI``, ``Predictive`` and :class:`~pyro.infer.reparam.NeuTraReparam`.

    Args:
        model: The Pyro model.
        flow: ``flow(latent_dim)`` returns the flow, over unbounded vectors; :func:`default_flow` by default.
        init_loc_fn: Initial value of each site, as for Pyro's AutoGuides.
        init_scale: Initial standard deviation in unbounded space.
        correlated: Whether the affine map holds a full covariance, ``latent_dim ** 2 / 2`` numbers.
        stick_the_landing: Whether gradients leave out the score term. Their variance then vanishes where the
            guide is exact, which for couplings is worth its price: a step costs one more pass through the
            flow's inverse, and ``latent_dim`` of them for inverse autoregressive flows. Not for splines. By
            default it is on for the default flow, and off for others.
        name: Prefix of the parameters in Pyro's store; unique by default.

    Raises:
        DataError: At the first call, if the model has no latent site, or a discrete one.
        ShapeError: At the first call, if the factory returns a flow of another size.
        TypeError: At the first call, if the factory does not return a flow.

    Reference:
        Rezende and Mohamed, Variational Inference with Normalizing Flows, ICML 2015.
        https://arxiv.org/abs/1505.05770

    Example:
        >>> import pyro
        >>> import pyro.distributions as dist
        >>> def model():
        ...     scale = pyro.sample("scale", dist.HalfNormal(1.0))
        ...     pyro.sample("x", dist.Normal(0.0, scale), obs=torch.tensor(0.5))
        >>> guide = AutoFlow(model)
        >>> guide()["scale"].shape
        torch.Size([])
    """

    def __init__(
        self,
        model: Callable[..., Any],
        flow: Callable[[int], Flow] | None = None,
        *,
        init_loc_fn: Callable[..., Any] = init_to_median,
        init_scale: float = 0.1,
        correlated: bool = True,
        stick_the_landing: bool | None = None,
        name: str | None = None,
    ) -> None:
        if init_scale <= 0:
            raise ValueError(f"init_scale must be positive, but is {init_scale}.")
        self.__dict__["_given_name"] = name
        AutoContinuous.__init__(self, model, init_loc_fn=init_loc_fn)
        self._rename(unique_name(self._kind(), name))
        self.factory = default_flow if flow is None else flow
        self.init_scale, self.correlated = init_scale, correlated
        self.stick_the_landing = flow is None if stick_the_landing is None else stick_the_landing

    def _setup_prototype(self, *args: Any, **kwargs: Any) -> None:
        try:
            try:
                super()._setup_prototype(*args, **kwargs)  # type: ignore[no-untyped-call]
            except RuntimeError as error:
                if "no latent variables" not in str(error):
                    raise
                raise DataError("the model has no latent site: use guides.Empty() instead.") from None
            self._check_sites()
            latent: Tensor = self._init_loc()  # type: ignore[no-untyped-call]
            inner = self._checked(self.factory(self.latent_dim)).to(latent)
            scale = torch.full_like(latent, self.init_scale)
            self.flow = Whitened(inner, latent, scale, correlated=self.correlated, trainable=True)
            self.flow.train(self.training)
        except BaseException:
            self.prototype_trace = None  # the next call tries again, and fails again
            raise

    def _check_sites(self) -> None:
        for name, site in self._sites():
            if site["fn"].support.is_discrete:
                raise DataError(
                    f"AutoFlow needs continuous latents, but site {name!r} is discrete. Sum it out with "
                    "TraceEnum_ELBO and hide it from the guide with poutine.block, or give it a guide of "
                    "its own in an AutoGuideList."
                )
            for frame in site["cond_indep_stack"]:
                if frame.full_size is not None and frame.full_size != frame.size:
                    raise DataError(
                        f"site {name!r} stands in the subsampled plate {frame.name!r}, {frame.size} of "
                        f"{frame.full_size} rows, and AutoFlow has no latents for the other rows. Give local "
                        "latents an amortized guide, or run the plate in full."
                    )

    def _checked(self, flow: Any) -> Flow:
        if not isinstance(flow, Flow):
            raise TypeError(
                f"AutoFlow's factory must return a flow of pyro_dgm.flows, but returned a "
                f"{type(flow).__name__}. Another library's flow goes through flows.from_zuko."
            )
        if flow.input_dim != self.latent_dim or flow.context_dim:
            raise ShapeError(
                f"the model's latents have {self.latent_dim} unbounded coordinates, so the factory must "
                f"return a flow with input_dim={self.latent_dim} and no context, but returned {flow!r}. Use "
                "the factory's argument: AutoFlow(model, lambda latent_dim: RealNVP(latent_dim))."
            )
        return flow

    def get_base_dist(self) -> Any:
        """Return the flow's latent distribution."""
        return self.flow.base()

    def get_transform(self, *args: Any, **kwargs: Any) -> Bijection:
        """Return the bijection from the flow's latent to the sites' unbounded coordinates."""
        return OnePass(self.flow.transform())  # what NeuTraReparam asks for in two calls

    def get_posterior(self, *args: Any, **kwargs: Any) -> FlowDistribution:
        """Return the posterior over all sites' unbounded coordinates."""
        if self.stick_the_landing and torch.is_grad_enabled():  # else the flow remembers its draws' density
            return PathFlowDistribution(self.flow, self.flow)
        return self.flow()  # type: ignore[no-any-return]

    @torch.no_grad()
    def sample_sites(self, num_samples: int) -> dict[str, Tensor]:
        """Draw posterior samples of every latent site, of shape ``(num_samples, *site)``."""
        self._check_built()
        latent = self.get_posterior().sample((num_samples,))
        return self.constrain(latent)

    def constrain(self, latent: Tensor) -> dict[str, Tensor]:
        """Carry unbounded vectors ``(n, latent_dim)`` to values ``(n, *site)`` of every latent site."""
        self._check_built()
        if latent.dim() != 2 or latent.shape[1] != self.latent_dim:
            raise ShapeError(
                f"latent needs shape (n, {self.latent_dim}), but has shape {tuple(latent.shape)}."
            )
        values, start = {}, 0
        for name, site in self._sites():
            shape = self._unconstrained_shapes[name]
            part = latent[:, start : start + shape.numel()].reshape(-1, *shape)
            values[name] = biject_to(site["fn"].support)(part)
            start += shape.numel()
        return values

    def transform_of(self, name: str) -> Any:
        """The bijection from unbounded space to the support of the latent site ``name``."""
        self._check_built()
        return biject_to(dict(self._sites())[name]["fn"].support)

    def median(self, *args: Any, num_samples: int = 1000, **kwargs: Any) -> Mapping[str, Tensor]:
        """The median of each entry of each site, from ``num_samples`` draws."""
        return {name: draws.median(0).values for name, draws in self.sample_sites(num_samples).items()}

    def quantiles(
        self, quantiles: Any, *args: Any, num_samples: int = 1000, **kwargs: Any
    ) -> dict[str, Tensor]:
        """Quantiles of each entry of each site, of shape ``(len(quantiles), *site)``, from draws."""
        sites = self.sample_sites(num_samples)
        return {
            name: draws.quantile(torch.as_tensor(quantiles).to(draws), dim=0) for name, draws in sites.items()
        }

    def __getstate__(self) -> dict[str, Any]:
        # As Pyro's AutoGuides, whose models are often local functions: the model stays behind. Theirs loses
        # it in the original too.
        return {**self.__dict__, "_model": None, "master": None}

    def __deepcopy__(self, memo: dict[int, Any]) -> AutoFlow:
        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        twin.__setstate__(copy.deepcopy(self.__getstate__(), memo))
        twin.__dict__["_model"] = copy.deepcopy(self._model, memo)
        return twin

    def _sites(self) -> Iterator[tuple[str, dict[str, Any]]]:
        trace: Any = self.prototype_trace
        return trace.iter_stochastic_nodes()  # type: ignore[no-any-return]

    def _check_built(self) -> None:
        if self.prototype_trace is None:
            raise RuntimeError("this guide has not seen its model yet: call guide(*args) once first.")
