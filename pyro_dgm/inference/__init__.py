"""What composes and trains a flow on the user's behalf, for inference in other models."""
