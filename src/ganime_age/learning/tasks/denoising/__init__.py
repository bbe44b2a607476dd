"""Training the denoising network."""
