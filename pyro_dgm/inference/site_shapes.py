"""What a trace says of a program's sites."""

from __future__ import annotations

from typing import Any

__all__ = ["latent_sites", "plate_nesting"]


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
