"""The multi-pose set: faces turned to other poses, gated and packed."""

__all__ = [
    "controlnet_backend",
    "controlnet_models",
    "dataset",
    "gates",
    "mesh_backend",
    "plan",
    "pose_drawing",
    "refill",
    "report",
    "shards",
    "sources",
]
