"""Figures that compare two samples or estimate a likelihood, each with its floor or interval."""
