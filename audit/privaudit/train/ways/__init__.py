"""The ways to take a training step; each trains the same model to the same weights."""
