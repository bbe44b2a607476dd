"""A short name for a model's weights, computed from the numbers themselves."""

from __future__ import annotations

import hashlib

import torch


def fingerprint(model: torch.nn.Module) -> str:
    """16 hexadecimal digits that name a model's weights: SHA-256 over every tensor's name, shape and numbers."""
    digest = hashlib.sha256()
    for key, tensor in sorted(model.state_dict().items()):
        values = tensor.detach().cpu()
        digest.update(f"{key}{tuple(values.shape)}".encode())
        digest.update((values.float() if values.is_floating_point() else values).contiguous().numpy())
    return digest.hexdigest()[:16]
