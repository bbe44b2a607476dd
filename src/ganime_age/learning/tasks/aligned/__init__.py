"""Training the readers of networks/aligned: identity and attributes."""
