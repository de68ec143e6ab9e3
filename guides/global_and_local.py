"""A guide of models with latents of the whole and latents of each row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyro
import torch
from pyro import poutine
from torch import Tensor

from pyro_dgm.errors import DataError
from pyro_dgm.flows import Flow
from pyro_dgm.guides.amortized import AmortizedGuide
from pyro_dgm.guides.auto_flow import AutoFlow
from pyro_dgm.naming import NamedPyroModule
from pyro_dgm.plates import data_plate

__all__ = ["GlobalAndLocal"]


class GlobalAndLocal(NamedPyroModule):
    r"""A flow over the global latents of a model, and an amortized guide of one latent a row given these.

    .. math:: q(\beta, z_{1:N}) = q(\beta) \prod_i q(z_i \mid x_i, \beta)

    It trains on mini-batches, where an automatic guide would need a latent for every row of the data: the
    model takes ``size`` and ``index`` as those of this library do, and hands them to
    :func:`~pyro_dgm.plates.data_plate`.

    Sites: ``z`` in the plate ``data``, by the amortized guide; every other latent of the model, of any
    continuous support and in plates of its own or in none, by an :class:`~pyro_dgm.guides.AutoFlow`.

    Args:
        model: The Pyro model, called as ``model(x, ..., size=..., index=...)``.
        local: The amortized guide of ``z``, such as :class:`~pyro_dgm.guides.AmortizedFlow`. With
            ``takes_context`` its context is the vector of the global latents in unbounded coordinates, site
            by site in the order of the model; without, ``z`` is independent of them.
        flow: ``flow(dim)`` returns the flow over that vector; the default of ``AutoFlow`` otherwise.
        name: Prefix of the parameters in Pyro's store; unique by default.
        **options: Further options of ``AutoFlow``.

    Raises:
        DataError: At the first call, if ``z`` is not the model's only latent in the plate ``data``, or there
            are no others, or a discrete one.

    Reference:
        Agrawal and Domke, Amortized Variational Inference for Simple Hierarchical Models, NeurIPS 2021.
        https://arxiv.org/abs/2111.03144

    Example:
        >>> import pyro.distributions as dist
        >>> from pyro_dgm.flows import IAF
        >>> from pyro_dgm.guides import AmortizedFlow
        >>> from pyro_dgm.nets import MLPEncoder
        >>> def model(x, *, size=None, index=None):
        ...     loc = pyro.sample("loc", dist.Normal(0.0, 1.0))
        ...     with data_plate(len(x), size, index):
        ...         z = pyro.sample("z", dist.Normal(loc.unsqueeze(-1), torch.ones(2)).to_event(1))
        ...         pyro.sample("x", dist.Normal(z, 0.5).to_event(1), obs=x)
        >>> local = AmortizedFlow(MLPEncoder((2,), 2, context_dim=1), IAF(2), takes_context=True)
        >>> guide = GlobalAndLocal(model, local)
        >>> {name: value.shape for name, value in guide(torch.zeros(5, 2), size=100).items()}
        {'loc': torch.Size([]), 'z': torch.Size([5, 2])}
    """

    def __init__(
        self,
        model: Callable[..., Any],
        local: AmortizedGuide,
        *,
        flow: Callable[[int], Flow] | None = None,
        name: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(name)
        if not isinstance(local, AmortizedGuide):
            raise TypeError(
                f"local must be an amortized guide of this library, such as AmortizedFlow(encoder, flow), "
                f"but is a {type(local).__name__}."
            )
        self.globals = AutoFlow(poutine.block(model, hide=["z"]), flow, **options)
        self.local = local
        self.__dict__["model"] = model  # not a part of the guide: its parameters are its own

    def forward(
        self,
        x: Tensor,
        *args: Any,
        size: int | None = None,
        index: Tensor | None = None,
        **kwargs: Any,
    ) -> dict[str, Tensor]:
        """Draw every global latent, and ``z`` for the rows of ``x``; returned by name.

        Args:
            x: The rows of this batch, ``(n, *event)``.
            *args: Further arguments of the model.
            size: Number of rows of the whole data set.
            index: Which of them these are.
            **kwargs: Further keyword arguments of the model.
        """
        rows = {key: value for key, value in (("size", size), ("index", index)) if value is not None}
        if self.globals.prototype_trace is None:
            self._check_sites(x, *args, **rows, **kwargs)
        with poutine.trace() as recorded:
            values = self.globals(x, *args, **rows, **kwargs)
        vector: Tensor = recorded.trace.nodes[f"_{self.globals._pyro_name}_latent"]["value"]  # type: ignore[assignment]
        # Particles stand left of the plate: (*particles, 1, G), one vector for all rows.
        batch = (*vector.shape[:-2], len(x))
        with data_plate(len(x), size, index):
            posterior = self.local.posterior(x, vector.expand(*batch, vector.shape[-1]))
            return {**values, "z": pyro.sample("z", posterior)}

    def _check_sites(self, *args: Any, **kwargs: Any) -> None:
        with torch.no_grad(), torch.random.fork_rng(), poutine.block():
            nodes = poutine.trace(self.model).get_trace(*args, **kwargs).nodes
        latent = {
            name: {frame.name for frame in site["cond_indep_stack"]}
            for name, site in nodes.items()
            if site["type"] == "sample"
            and not site["is_observed"]
            and type(site["fn"]).__name__ != "_Subsample"
        }
        of_rows = sorted(name for name, plates in latent.items() if "data" in plates)
        if of_rows != ["z"]:
            raise DataError(
                "GlobalAndLocal guides one latent 'z' in the plate 'data' by its amortized guide, but this "
                f"model's latents in that plate are {of_rows or 'none'}. Join them into one vector 'z', or "
                "name the plate 'data' by data_plate(len(x), size, index)."
            )
        if len(latent) == 1:
            raise DataError("the model has no latent but 'z': use the amortized guide itself.")
