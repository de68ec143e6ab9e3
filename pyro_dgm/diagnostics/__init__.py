"""Checks of a trained model against what mathematics promises."""
