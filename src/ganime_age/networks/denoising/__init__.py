"""The denoising network, and how an edit is drawn anew with it."""
