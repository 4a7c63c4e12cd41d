"""A whole run: from a recipe to audits."""
