"""Targets of known density in two dimensions, and image data sets."""
