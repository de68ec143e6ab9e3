"""Pyro models, imported as ``pyro_dgm.models``."""

if __name__ != "pyro_dgm.models":
    raise ImportError(
        f"this folder is the package 'pyro_dgm.models', but it is being imported as {__name__!r}. "
        "Write 'from pyro_dgm import models' or 'from pyro_dgm.models import ...' instead."
    )

from pyro_dgm.models.autoencoder import Autoencoder
from pyro_dgm.models.dequantized_flow import DequantizedFlow
from pyro_dgm.models.generative_model import Capabilities, GenerativeModel, evaluating
from pyro_dgm.models.implicit_generator import ImplicitGenerator
from pyro_dgm.models.imputation import impute
from pyro_dgm.models.inverse_problem import InverseProblem
from pyro_dgm.models.normalizing_flow import NormalizingFlow
from pyro_dgm.models.semi_supervised_vae import LabelGuide, SemiSupervisedVAE
from pyro_dgm.models.vae import VAE

__all__ = [
    "VAE",
    "Autoencoder",
    "Capabilities",
    "DequantizedFlow",
    "GenerativeModel",
    "ImplicitGenerator",
    "InverseProblem",
    "LabelGuide",
    "NormalizingFlow",
    "SemiSupervisedVAE",
    "evaluating",
    "impute",
]
