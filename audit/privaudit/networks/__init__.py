"""One network as flat weights, which many models can share."""
