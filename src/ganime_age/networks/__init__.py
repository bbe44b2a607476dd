"""What computes: one published system a file. Tensors in, tensors out."""
