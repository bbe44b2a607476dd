"""The dual generator: one face moves like another (Hsu et al., CVPR 2022: a shape generator, then a face generator).

The shape generator answers which landmarks the source would have with the driving face's expression and head pose; the
face generator paints the source's appearance on them. Both are residuals on an answer that needs no learning: the
coefficients of a linear head model (head.py) for the shape, the source drawn by its mesh (mesh.py) for the picture.
They start as that answer, and where nothing moves they leave it exactly.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .head import Head, HeadModel
from .layers import Edited, ModulatedBlock, resize, unchanged_share
from .mesh import Drawn, draw
from .prototypes import Prototypes
from .skin.texture import scale_texture
from .skin.tone import match_colour
from .warp import canonical_grid

LINES = ((0, 17), (17, 36), (36, 48), (48, 60), (60, 68))
"""Jaw, brows and nose, eyes, outer lips, inner lips: first and last + 1 of iBUG's 68 points."""
DOT = 1 / 80
"""Standard deviation of a drawn landmark, in sides of the frame."""
NEAR = 13
"""Side in pixels of the window over which occlusion and motion are averaged in `edit_mask`."""
FAINT = 0.25
"""Largest weight of a repair on moved visible surface, which needs little."""
REACH_GAIN = 20.0
"""Steepness of `edit_mask`: 5 % of occluded pixels in the window give a weight of 1 - 1/e."""
STYLE_SIDE = 64
"""Side in pixels of the copy of the source that its appearance code is taken from."""
POSE_UNIT = 30.0
"""Degrees of pose that count as 1 for the shape generator's perceptron."""


class ShapeGenerator(nn.Module):
    """Landmarks of a source and a driving face -> the source's face shape with the driving expression and pose.

    head: the model's own head model. It is used here, not owned: its buffers are saved and moved once, where it lives.
    hidden: width of the perceptron that corrects its answer, zero at the start.
    """

    def __init__(self, head: HeadModel, hidden: int = 192):
        super().__init__()
        # In a tuple, so that nn.Module does not register it: its buffers would be saved twice.
        self._borrowed = (head,)
        self.mlp = nn.Sequential(
            nn.Linear(2 * (136 + 3), hidden),
            nn.SiLU(),
            nn.Linear(hidden, hidden),
            nn.SiLU(),
            nn.Linear(hidden, 136, bias=False),
        )
        nn.init.zeros_(self.mlp[-1].get_parameter("weight"))

    @property
    def head(self) -> HeadModel:
        return self._borrowed[0]

    def forward(self, source: Tensor, driving: Tensor, learnt: bool = True) -> Tensor:
        """(B,68,2) each, in 0..1 of their own frames -> (B,68,2) in the source's frame, where the head keeps its size
        and the face its place: it is still aligned as faces are read. The source itself when both are the same.
        learnt: False leaves the perceptron's correction out, to measure what it adds."""
        own, other = fit_heads(self.head, source, driving)
        asked = own._replace(expression=other.expression, pose=other.pose)
        # The source's identity with the driving expression and pose: 3-D morphable model transfer (as Face2Face, Thies
        # et al., CVPR 2016), plus a learnt correction that is zero when both faces are the same.
        made = self.transfer(source, own, asked)
        if learnt:
            made = made + self.correction((source, own), (driving, other), (source, own))
        return made + centre(source) - centre(made)

    def relative(self, source: Tensor, driving: Tensor, first: Tensor) -> Tensor:
        """As `forward`, but the source moves by what lies between a clip's first face and its driving face, (B,68,2)
        each and in one frame: expression, pose, size and place. The source itself when these two are the same."""
        own, other, start = fit_heads(self.head, source, driving, first)
        asked = own._replace(
            expression=own.expression + other.expression - start.expression,
            pose=own.pose + other.pose - start.pose,
            scale=own.scale * other.scale / start.scale,
            shift=own.shift + other.shift - start.shift,
        )
        return self.transfer(source, own, asked) + self.correction(
            (source, own), (driving, other), (first, start)
        )

    def transfer(self, source: Tensor, own: Head, asked: Head) -> Tensor:
        """The head model's answer; what it cannot express of the source stays as it is."""
        return source + self.head.landmarks(asked) - self.head.landmarks(own)

    def correction(self, *faces: tuple[Tensor, Head]) -> Tensor:
        """The correction (B,68,2) for a source, a driving face and the one at which it is zero."""
        source, driving, still = (normalised(*face) for face in faces)
        # g(source, driving) - g(source, still): zero at driving = still whatever the weights.
        change = self.mlp(torch.cat([source, driving], 1)) - self.mlp(torch.cat([source, still], 1))
        return change.unflatten(1, (68, 2)) * faces[0][1].scale[:, None, None]


def fit_heads(head: HeadModel, *landmarks: Tensor) -> list[Head]:
    """The heads of several landmarks (B,68,2) each, fitted at once: a fit of few faces takes as long as one of one."""
    parts = [values.chunk(len(landmarks)) for values in head.fit(torch.cat(landmarks))]
    return [Head(*of) for of in zip(*parts, strict=True)]


def centre(landmarks: Tensor) -> Tensor:
    """(B,68,2) -> (B,1,2): the point that FFHQ's alignment puts in the middle of the frame."""
    eyes = (landmarks[:, 36:42].mean(1) + landmarks[:, 42:48].mean(1)) / 2
    mouth = (landmarks[:, 48] + landmarks[:, 54]) / 2
    # FFHQ's alignment centres the frame a tenth of the way from the eyes to the mouth (Karras et al., CVPR 2019).
    return (eyes + 0.1 * (mouth - eyes))[:, None]


def normalised(landmarks: Tensor, head: Head) -> Tensor:
    """(B,139): landmarks without the head's size and place, and its pose."""
    placed = (landmarks - head.shift[:, None]) / head.scale[:, None, None]
    return torch.cat([placed.flatten(1), head.pose / POSE_UNIT], 1)


class FaceGenerator(nn.Module):
    """Repairs a drawn face where its mesh could not show the source. Fully convolutional, sides divide by 8.

    widths: channels at 1/2, 1/4 and 1/8 of the side, multiples of 8. style: length of the source's appearance, which
    modulates every block after the encoder.
    """

    def __init__(self, widths: tuple[int, ...] = (32, 64, 128), blocks: int = 2, style: int = 64):
        super().__init__()
        self.appearance = nn.Sequential(
            nn.Conv2d(3, 16, 4, 2, 1), nn.SiLU(), nn.Conv2d(16, 32, 4, 2, 1), nn.SiLU(),
            nn.Conv2d(32, style, 4, 2, 1), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(style, style),
        )  # fmt: skip
        self.stem = nn.Conv2d(3 + 1 + 3 + len(LINES), widths[0], 6, 2, 2)
        steps = list(zip(widths, widths[1:], strict=False))
        self.down = nn.ModuleList(nn.Conv2d(a, b, 3, 2, 1) for a, b in steps)
        self.middle = nn.ModuleList(ModulatedBlock(widths[-1], style) for _ in range(blocks))
        self.up = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in reversed(steps))
        self.refine = nn.ModuleList(ModulatedBlock(a, style) for a, _ in reversed(steps))
        self.head = nn.Conv2d(widths[0], 4 * 3, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.get_parameter("bias"))

    def forward(self, rendered: Tensor, seen: Tensor, source: Tensor, landmarks: Tensor) -> Edited:
        """A drawn face (B,3,S,S) in [-1,1], where it showed the source's own surface (B,1,S,S) in 0..1, the source
        (B,3,S,S) and the drawn face's landmarks (B,68,2) in 0..1 -> Edited, whose attention is what was painted."""
        style = self.appearance(resize(source, STYLE_SIDE))
        lines = dots(landmarks, rendered.shape[-1]).to(rendered)
        # A U-Net with additive skips, as GANimation-age's; the source's appearance modulates all but the encoder.
        skips = [self.stem(torch.cat([rendered, 2 * seen - 1, source, lines], 1))]
        for down in self.down:
            skips.append(down(F.silu(skips[-1])))
        x = skips.pop()
        for block in self.middle:
            x = block(x, style)
        for up, refine in zip(self.up, self.refine, strict=True):
            x = refine(F.interpolate(up(x), scale_factor=2.0, mode="bilinear") + skips.pop(), style)
        change = 2 * F.pixel_shuffle(self.head(F.silu(x)), 2).tanh()
        change = (rendered + edit_mask(rendered, seen, source) * change).clamp(-1, 1) - rendered
        return Edited(rendered + change, 1 - unchanged_share(change))


def dots(landmarks: Tensor, side: int) -> Tensor:
    """Landmarks (B,68,2) in 0..1 as Gaussian dots, one plane for each of LINES: (B,5,side,side) in 0..1."""
    # A 2-D Gaussian is the outer product of two 1-D ones, so 68 dots are two small matrices and a product.
    line = (torch.arange(side, device=landmarks.device, dtype=landmarks.dtype) + 0.5) / side
    across, down = torch.exp(-0.5 * ((line - landmarks[..., None]) / DOT).square()).unbind(2)
    planes = [torch.einsum("bny,bnx->byx", down[:, a:b], across[:, a:b]) for a, b in LINES]
    return torch.stack(planes, 1).clamp(max=1)


def edit_mask(rendered: Tensor, seen: Tensor, source: Tensor) -> Tensor:
    """(B,1,S,S): largest weight of a repair: 1 near occluded pixels, at most 0.25 on moved visible surface, 0 where
    nothing moved."""
    # n(x) = 1 - exp(-20 mean_window(x)): nearly 1 as soon as a few pixels around are occluded (or have changed).
    hidden, change = 1 - seen, (rendered - source).abs().mean(1, keepdim=True)
    near, moved = (1 - torch.exp(-REACH_GAIN * F.avg_pool2d(x, NEAR, 1, NEAR // 2)) for x in (hidden, change))
    return near + FAINT * (1 - near) * moved


class Discriminator(nn.Module):
    """Is each patch of a face real, and in its place on these landmarks? widths: channels of the stride-2 stages."""

    def __init__(self, widths: tuple[int, ...] = (24, 48, 96, 192)):
        super().__init__()
        pairs = zip((3 + 1 + len(LINES), *widths[:-1]), widths, strict=True)
        self.stages = nn.ModuleList(nn.Conv2d(a, b, 4, 2, 1) for a, b in pairs)
        self.real = nn.Conv2d(widths[-1], 1, 3, padding=1, bias=False)  # differences alone are judged

    def forward(self, face: Tensor, valid: Tensor, lines: Tensor) -> Tensor:
        """face (B,3,S,S) in [-1,1], valid (B,1,S,S) in 0..1, outside of which all is hidden, and its landmarks as
        `dots` draws them (B,5,S,S) -> patch logits (B,1,h,w)."""
        x = torch.cat([face * valid, valid * 2 - 1, lines], 1)
        for stage in self.stages:
            x = F.leaky_relu(stage(x), 0.2)
        return self.real(x)


class DualGenerator(nn.Module):
    """Both generators: `shape` and `face`. head: see ShapeGenerator; shape_hidden, the rest: their sizes."""

    def __init__(
        self,
        head: HeadModel,
        shape_hidden: int = 192,
        widths: tuple[int, ...] | list[int] = (32, 64, 128),
        blocks: int = 2,
        style: int = 64,
    ):
        super().__init__()
        self.shape = ShapeGenerator(head, shape_hidden)
        self.face = FaceGenerator(tuple(widths), blocks, style)


def render(
    faces: Tensor,
    source: Tensor,
    target: Tensor,
    units: Tensor,
    head: HeadModel,
    prototypes: Prototypes | None,
) -> Drawn:
    """Faces (B,3,S,S) in [-1,1] whose landmarks go from `source` to `target` (B,68,2), drawn by their meshes.

    With prototypes, a mouth that opens is filled with what open mouths look like under action units `units` (B,17).
    """
    before, after = (head.points(one) for one in fit_heads(head, source, target))
    drawn = draw(faces, before, after, head)
    if prototypes is None:
        return drawn
    skin = prototypes.face_region(target, faces.shape[-1])
    light = prototypes.brightness(drawn.face, skin)
    colour = prototypes.colourfulness(drawn.face, skin)
    face, filled = prototypes.mouth(drawn.face, source, target, units, light, colour)
    return Drawn(face, drawn.seen * (1 - filled))


def creased(
    face: Tensor, landmarks: Tensor, units: Tensor, prototypes: Prototypes, hair: Tensor | None = None
) -> Tensor:
    """A face (B,3,S,S) in [-1,1] with landmarks (B,68,2) and the creases and tones, but not the shape, of a change of
    action units (B,17). hair (B,1,S,S) in 0..1: where it is, if that is known."""
    grid = canonical_grid(landmarks, prototypes.mean_shape, face.shape[-1])
    skin, _ = prototypes.masks(face, landmarks, grid, hair)
    _, spread = prototypes.brightness(face, skin)
    texture, tone = (
        prototypes.warp_to_face(prototypes.combine(name, "unit", units), grid) for name in ("texture", "tone")
    )
    out = scale_texture(face, skin, texture)
    return (out + skin * spread * match_colour(tone, prototypes.colourfulness(face, skin))).clamp(-1, 1)
