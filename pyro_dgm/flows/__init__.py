"""Modules that own networks and return a ``FlowDistribution`` when called."""
