"""Face folders: manifests, decoded pictures, augmentation."""
