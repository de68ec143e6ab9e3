"""FFJORD: a continuous flow trained with an unbiased estimate of its trace."""

from __future__ import annotations

from typing import Any

from pyro_dgm.flows.cnf import CNF

__all__ = ["FFJORD"]


class FFJORD(CNF):
    r"""A :class:`CNF` with FFJORD's layers, trained with Hutchinson's trace estimate.

    .. math:: \operatorname{tr} \nabla_x v = E \, \epsilon^\top \nabla_x v \, \epsilon

    with one :math:`\epsilon` a row for the whole solve, drawn when the flow is called and kept by that
    distribution. Evaluation mode takes the exact trace. The velocity here has that in closed form at nearly
    the price of the estimate, so ``CNF(field="concatsquash")`` is the better choice unless the noise is
    wanted; the estimate pays for velocities of one's own.

    Args:
        input_dim: Size ``D`` of the data vectors.
        context_dim: Size of the conditioning vector; zero for none.
        trace: ``"rademacher"`` or ``"gaussian"``; or an exact one.
        options: Those of :class:`CNF`; the field is ``"concatsquash"`` by default.

    Reference:
        Grathwohl, Chen, Bettencourt, Sutskever and Duvenaud, FFJORD: Free-form Continuous Dynamics for
        Scalable Reversible Generative Models, ICLR 2019. https://arxiv.org/abs/1810.01367

    Example:
        >>> import torch
        >>> d = FFJORD(2)()
        >>> x = torch.randn(5, 2)
        >>> bool((d.log_prob(x) == d.log_prob(x)).all())  # one probe a distribution
        True
    """

    def __init__(
        self, input_dim: int, context_dim: int = 0, *, trace: str = "rademacher", **options: Any
    ) -> None:
        super().__init__(input_dim, context_dim, trace=trace, **{"field": "concatsquash"} | options)
