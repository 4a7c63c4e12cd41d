"""What the authors of plugins see, and the boundary through which their code is called."""
