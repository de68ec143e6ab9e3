"""Recipes for flows: exact densities of vectors."""

from __future__ import annotations

import torch

from pyro_dgm.flows import OTFlow, RealNVP
from pyro_dgm.models import GenerativeModel, NormalizingFlow
from pyro_dgm.objectives import ELBO
from pyro_dgm.recipes.recipe import Options, Recipe

__all__ = ["OT_FLOW", "REAL_NVP"]


def _real_nvp(event_shape: torch.Size, options: Options) -> GenerativeModel:
    return NormalizingFlow(RealNVP(event_shape[0], **options))


def _ot_flow(event_shape: torch.Size, options: Options) -> GenerativeModel:
    return NormalizingFlow(OTFlow(event_shape[0], **options))


def _maximum_likelihood(model: GenerativeModel, options: Options) -> ELBO:
    return ELBO(model)


REAL_NVP = Recipe(
    name="real-nvp",
    summary="normalizing flow of affine couplings, by exact maximum likelihood",
    event="vector",
    options={"num_layers": 8, "hidden_dims": [64, 64], "max_log_scale": 2.0},
    training={"steps": 5000, "batch_size": 256, "lr": 2e-3, "schedule": "cosine", "clip": 5.0},
    make_model=_real_nvp,
    make_objective=_maximum_likelihood,
    data="moons",
)

OT_FLOW = Recipe(
    name="ot-flow",
    summary="continuous flow along straight paths, by exact likelihood and optimal transport",
    event="vector",
    options={
        "width": 32,
        "depth": 2,
        "nt_train": 4,
        "nt_eval": 16,
        "transport_weight": 0.1,
        "hjb_weight": 0.5,
    },
    training={"steps": 3000, "batch_size": 256, "lr": 2e-2, "schedule": "cosine"},
    make_model=_ot_flow,
    make_objective=_maximum_likelihood,
    data="moons",
)
