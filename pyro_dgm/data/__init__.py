"""Targets of known density in two dimensions, and image data sets."""

from pyro_dgm.data.digits import digits
from pyro_dgm.data.images import ImageData
from pyro_dgm.data.masked_rows import MaskedRows
from pyro_dgm.data.mnist import fashion_mnist, mnist
from pyro_dgm.data.registry import load, names
from pyro_dgm.data.row_data import RowData
from pyro_dgm.data.rows import as_rows
from pyro_dgm.data.target import Target2D, checkerboard, eight_gaussians, two_moons, uniform_square
from pyro_dgm.levels import check_levels, dequantize, level_histogram, quantize, to_levels

__all__ = [
    "ImageData",
    "MaskedRows",
    "RowData",
    "Target2D",
    "as_rows",
    "check_levels",
    "checkerboard",
    "dequantize",
    "digits",
    "eight_gaussians",
    "fashion_mnist",
    "level_histogram",
    "load",
    "mnist",
    "names",
    "quantize",
    "to_levels",
    "two_moons",
    "uniform_square",
]
