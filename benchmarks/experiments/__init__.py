"""Three experiments on the three families: matched decoders, known truth, and the start of training."""
