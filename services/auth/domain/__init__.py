"""What is true of accounts, sessions, settings and credits, whoever asks."""
