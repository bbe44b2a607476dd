"""How well a detector finds faces, on ordinary photos as they are and made harder."""

__all__ = ["conditions", "measure_conditions", "measure_finder"]
