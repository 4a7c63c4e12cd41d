"""Gates of finished runs: whose they are, how a mean is judged, and files for other programs."""
