"""One fit of K models: its loop, its batches, its optimiser, and the ways to take a step."""
