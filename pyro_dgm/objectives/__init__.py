"""Losses in nats: evidence bounds and adversarial games."""
