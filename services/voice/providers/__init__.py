"""Where clones of a sample are made; one file for each maker."""
