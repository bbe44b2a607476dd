"""Every recipe rehearsed: tiny on a pretended GPU, which counts waits, and at its own size, for its speed."""
