"""Pages cannot rot: what they show is run, what they print is compared, and links are followed."""
