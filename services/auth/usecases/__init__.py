"""What a caller can ask for."""
