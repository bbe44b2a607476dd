"""From raw photos to a face folder."""

__all__ = [
    "age_estimators",
    "celeba_aus",
    "face_sources",
    "hair",
    "openface_csv",
    "prepare",
    "pseudo_labels",
    "relabel",
]
