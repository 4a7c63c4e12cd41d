"""Built-in sparsifiers."""
