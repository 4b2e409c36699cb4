"""Ready-made tasks, each in a module of its own and short enough to copy."""
