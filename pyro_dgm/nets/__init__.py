"""Networks as plain ``nn.Module``s: conditioners, encoders, decoders, critics."""
