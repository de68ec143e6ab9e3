"""Deep generative modelling for Pyro: flows, continuous flows, VAEs and GANs in one frame.

Importing the package changes nothing outside it: neither argument validation nor random states, warning
filters or thread counts. Heavy libraries are imported where they are used.
"""

__version__ = "0.1.0"
