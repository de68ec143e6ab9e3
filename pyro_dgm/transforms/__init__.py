"""Bijections as ``torch.distributions`` transforms: maths only, one family a file."""

from pyro_dgm.transforms.affine_coupling import AffineCoupling
from pyro_dgm.transforms.bijection import Bijection, Composed, Inverted
from pyro_dgm.transforms.planar import PlanarTransform
from pyro_dgm.transforms.radial import RadialTransform

__all__ = ["AffineCoupling", "Bijection", "Composed", "Inverted", "PlanarTransform", "RadialTransform"]
