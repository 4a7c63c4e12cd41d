"""What lies on disk: units of training, runs, and files written whole or not at all."""
