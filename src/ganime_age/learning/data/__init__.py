"""Face folders: manifests, decoded pictures, augmentation."""

__all__ = [
    "augment",
    "backgrounds",
    "composites",
    "faces",
    "headwear",
    "joined_faces",
    "labelled_shards",
    "manifest",
    "packed_faces",
    "picture_cache",
    "picture_store",
    "semantic_maps",
]
