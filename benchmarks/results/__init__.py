"""Pages about what recipes found, made from runs, and whether they are still of today's code."""
