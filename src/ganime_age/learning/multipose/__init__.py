"""The multi-pose set: faces turned to other poses, gated and packed."""

__all__ = [
    "controlnet_backend",
    "controlnet_dry_run",
    "controlnet_models",
    "controlnet_scenes",
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
