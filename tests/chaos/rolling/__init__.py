"""A cluster in the small: pods with addresses of their own, names that resolve to them, rolling updates."""
