"""One function a picture; each returns the Matplotlib axes that it drew on.

No function touches ``pyplot`` or Matplotlib's global settings: figures need no display and no closing.
"""

from pyro_dgm.plotting.calibration import rank_ecdf, rank_histogram
from pyro_dgm.plotting.curves import rate_distortion, training_curve
from pyro_dgm.plotting.density import Window, density, density_grid
from pyro_dgm.plotting.images import image_grid, reconstructions
from pyro_dgm.plotting.motion import density_over_time, vector_field
from pyro_dgm.plotting.paths import paths
from pyro_dgm.plotting.points import latent_image, latent_scatter, samples
from pyro_dgm.plotting.posterior import interpolation, posterior_plane
from pyro_dgm.plotting.style import figure_of, png_bytes, styled

__all__ = [
    "Window",
    "density",
    "density_grid",
    "density_over_time",
    "figure_of",
    "image_grid",
    "interpolation",
    "latent_image",
    "latent_scatter",
    "paths",
    "png_bytes",
    "posterior_plane",
    "rank_ecdf",
    "rank_histogram",
    "rate_distortion",
    "reconstructions",
    "samples",
    "styled",
    "training_curve",
    "vector_field",
]
