"""Found faces of known places, and a stand-in for the dual generator that shifts a face by what the landmarks move."""

from types import SimpleNamespace

import numpy as np
import torch
import torch.nn.functional as F

from ganime_age.images.boxes import face_box
from ganime_age.images.search import FoundFace
from ganime_age.networks.layers import Edited


def found_face(x, y=50.0, size=40.0):
    """A found face around (x, y)."""
    grid = np.stack(np.meshgrid(np.linspace(-0.5, 0.5, 4), np.linspace(-0.4, 0.5, 17)), -1).reshape(68, 2)
    points = (grid * size + (x, y)).astype(np.float32)
    return FoundFace(face_box(points), 0.9, points)


class Shape:
    """In place of a shape generator."""

    def __call__(self, source, driving):
        return driving

    def relative(self, source, driving, first):
        return source + driving - first


def shifted(faces, source, target, source_units, target_units, **options):
    """In place of `GanimeAge.reenact`: the face moved as far as the mean landmark, where it came from painted."""
    shift = (target - source).mean(1)  # (B,2) in sides of the frame
    matrix = torch.eye(2, 3).repeat(len(faces), 1, 1)
    matrix[:, :, 2] = -2 * shift
    grid = F.affine_grid(matrix, list(faces.shape), align_corners=False)
    face = F.grid_sample(faces, grid, padding_mode="border", align_corners=False) if shift.any() else faces
    return Edited(face, (face - faces).abs().mean(1, keepdim=True).clamp(0, 1))


def puppet(model):
    """The model with the stand-in."""
    model.parts = (*model.parts, "dual_generator")
    model.dual_generator, model.reenact = SimpleNamespace(shape=Shape()), shifted
    return model
