"""What a trace says of a program's sites."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from pyro_dgm.errors import ShapeError

__all__ = ["draws_mixed_up", "latent_sites", "plate_nesting"]


def draws_mixed_up(name: str, log_prob: Tensor, num: int, plates: int) -> ShapeError:
    """The error of a model that, run for many draws at once, scores a site for more than draws and plates."""
    return ShapeError(
        f"run for {num} draws of the latents at once, the model scores site {name!r} in shape "
        f"{tuple(log_prob.shape)}, which is more than draws and {plates} dimensions of plates: a latent was "
        "given a dimension too many, by unsqueeze say. Draws lie on the left: index events from the right, "
        "w[..., i], and use scalars as they are."
    )


def latent_sites(trace: Any) -> dict[str, dict[str, Any]]:
    """The sites of a trace that are sampled and neither observed, auxiliary nor plates, in their order."""
    return {
        name: site
        for name, site in trace.nodes.items()
        if site["type"] == "sample"
        and not site["is_observed"]
        and not site["infer"].get("is_auxiliary")
        and type(site["fn"]).__name__ != "_Subsample"
    }


def plate_nesting(trace: Any) -> int:
    """The largest number of nested plates: how many batch dimensions, from the right, plates use."""
    frames = [frame for site in trace.nodes.values() for frame in site.get("cond_indep_stack", ())]
    return max((-frame.dim for frame in frames if frame.vectorized and frame.dim is not None), default=0)
