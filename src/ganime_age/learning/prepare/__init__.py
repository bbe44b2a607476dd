"""From raw photos to a face folder."""
