"""What is not a face, drawn offline: textures, shapes, text, strips beside faces, and decoys that nearly are one."""

import importlib.util
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

PLATE = 160  # side of a prepared background in pixels
BUNDLED = {
    "astronaut.png": (290, 0), "brick.png": (0, 0), "camera.png": (0, 300), "chelsea.png": (0, 0),
    "clock_motion.png": (0, 0), "coins.png": (0, 0), "grass.png": (0, 0), "horse.png": (0, 0),
    "hubble_deep_field.jpg": (0, 0), "ihc.png": (0, 0), "moon.png": (0, 0), "page.png": (0, 0), "retina.jpg": (0, 0),
    "rocket.jpg": (0, 0), "text.png": (0, 0), "motorcycle_left.png": (0, 0),
}  # fmt: skip
"""Pictures that scikit-image ships, and from which row and column on they hold no face. coffee and gravel are left out
on purpose: the tests ask for no face there."""


def ellipse_mask(side: int, centre: tuple[float, float], radii: tuple[float, float]) -> np.ndarray:
    """Soft ellipse (side,side) uint8; centre and radii in 0..1."""
    mask = np.zeros((side, side), np.uint8)
    cv2.ellipse(mask, ([c * side for c in centre], [2 * r * side for r in radii], 0.0), 255, -1)
    return cv2.GaussianBlur(mask, (0, 0), side * 0.025)


def soft_frame(side: int, edge: float) -> np.ndarray:
    """Full square (side,side) uint8 that fades out within edge (0..1) of its border."""
    ramp = np.clip((np.minimum(np.arange(side), np.arange(side)[::-1]) + 0.5) / (edge * side), 0, 1)
    return (255 * np.minimum.outer(ramp, ramp)).astype(np.uint8)


def bundled_pictures() -> list[np.ndarray]:
    """The BUNDLED pictures that are there, RGB uint8; none when scikit-image is not installed. Downloads nothing."""
    package = importlib.util.find_spec("skimage")
    if package is None or package.origin is None:
        return []
    folder = Path(package.origin).parent / "data"
    read = (
        (cv2.imread(str(folder / name)), start)
        for name, start in BUNDLED.items()
        if (folder / name).is_file()
    )
    return [
        np.ascontiguousarray(picture[row:, column:, ::-1])
        for picture, (row, column) in read
        if picture is not None
    ]


@dataclass
class FaceBank:
    """Aligned faces to draw from: pictures (N,4,S,S) uint8 (RGB, share that is real), landmarks (M,68,2) in 0..1 of
    the frame, rows (M,) where each of them lies in pictures, chance (M,) of each."""

    pictures: np.ndarray
    landmarks: np.ndarray
    rows: np.ndarray
    chance: np.ndarray

    def __post_init__(self) -> None:
        self.reach = np.cumsum(self.chance / self.chance.sum())

    @property
    def side(self) -> int:
        return self.pictures.shape[-1]

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A random face: pixels (S,S,4) uint8, its own copy, and landmarks (68,2) float64."""
        i = min(int(np.searchsorted(self.reach, rng.random())), len(self.rows) - 1)
        return np.ascontiguousarray(self.pictures[self.rows[i]].transpose(1, 2, 0)), self.landmarks[i].astype(
            np.float64
        )


@dataclass
class Backgrounds:
    """A pool of prepared plates, a share of them drawn anew as they are used, and decoys made from faces.

    The sides of the bank's faces are the source of natural textures. pictures: any face-free RGB pictures.
    """

    bank: FaceBank
    pictures: list[np.ndarray] = field(default_factory=bundled_pictures)
    pool: int = 300
    renewed: float = 0.12
    plates: list[np.ndarray] = field(default_factory=list)

    def draw(self, rng: np.random.Generator, side: int) -> np.ndarray:
        """A random piece of a random plate, mirrored, turned by quarters: (side,side,3) uint8."""
        if len(self.plates) < self.pool:
            self.plates.append(self._plate(rng))
        elif rng.random() < self.renewed:
            self.plates[rng.integers(self.pool)] = self._plate(rng)
        plate = self.plates[rng.integers(len(self.plates))]
        window = int(rng.uniform(0.35, 1) * PLATE)
        x, y = rng.integers(0, PLATE - window + 1, 2)
        piece = cv2.resize(plate[y : y + window, x : x + window], (side, side), interpolation=cv2.INTER_AREA)
        return np.ascontiguousarray(piece[:, ::-1] if rng.random() < 0.5 else piece)

    def _plate(self, rng: np.random.Generator) -> np.ndarray:
        kinds = (
            self._quilt,
            self._picture,
            clouds,
            shapes,
            text,
            self._faceless,
            self._leaves,
            folds,
            pebbles,
        )
        plate = kinds[rng.choice(9, p=(0.15, 0.15, 0.05, 0.05, 0.05, 0.15, 0.15, 0.15, 0.1))](rng)
        return cv2.addWeighted(plate, 0.6, clouds(rng), 0.4, 0) if rng.random() < 0.1 else plate

    def _quilt(self, rng: np.random.Generator) -> np.ndarray:
        """Strips from beside and above faces (hair, collars, rooms), stretched and laid side by side."""
        plate, x = np.empty((PLATE, PLATE, 3), np.uint8), 0
        while x < PLATE:
            width = min(int(rng.integers(20, 90)), PLATE - x)
            plate[:, x : x + width] = cv2.resize(
                self._strip(rng), (width, PLATE), interpolation=cv2.INTER_LINEAR
            )
            x += width
        return plate if rng.random() < 0.7 else np.ascontiguousarray(plate.transpose(1, 0, 2))

    def _leaves(self, rng: np.random.Generator) -> np.ndarray:
        """Dead leaves (Lee, Mumford and Huang, IJCV 2001): opaque discs and polygons of power-law size hide one
        another, as things in photos do; colours of real pictures, each with its own light."""
        plate, palette = self._quilt(rng), self._quilt(rng)
        for _ in range(int(rng.integers(30, 150))):
            radius = int(np.clip(2.5 * rng.pareto(1.2) + 2, 2, PLATE / 2))
            x, y, column, row = (int(v) for v in rng.integers(0, PLATE, 4))
            corners = leaf(rng, radius) + (x, y)
            mask = np.zeros((PLATE, PLATE), np.uint8)
            cv2.fillPoly(mask, [np.int32(corners)], 255, cv2.LINE_AA)
            box = np.s_[max(y - radius, 0) : y + radius, max(x - radius, 0) : x + radius]
            light = palette[row, column] * rng.uniform(0.7, 1.2) + shade(rng, PLATE)[box][..., None]
            part = mask[box][..., None] / np.float32(255)
            plate[box] = np.clip(plate[box] * (1 - part) + light * part, 0, 255).astype(np.uint8)
        return plate

    def _strip(self, rng: np.random.Generator) -> np.ndarray:
        for _ in range(8):
            face, _ = self.bank.draw(rng)
            side, depth = len(face), int(len(face) * 0.2)
            strip = (face[:, :depth], face[:, side - depth :], face[:depth])[rng.integers(3)]
            if strip[..., 3].min() == 255:
                return strip[..., :3]
        return strip[..., :3]

    def _picture(self, rng: np.random.Generator) -> np.ndarray:
        if not self.pictures:
            return shapes(rng)
        picture = self.pictures[rng.integers(len(self.pictures))]
        side = int(np.exp(rng.uniform(np.log(60), np.log(min(picture.shape[:2])))))
        x, y = (int(rng.integers(0, n - side + 1)) for n in picture.shape[1::-1])
        piece = np.rot90(picture[y : y + side, x : x + side], int(rng.integers(4)))
        return cv2.resize(np.ascontiguousarray(piece), (PLATE, PLATE), interpolation=cv2.INTER_AREA)

    def _faceless(self, rng: np.random.Generator) -> np.ndarray:
        """A whole portrait without its face: hair, ears, collar and room stay."""
        face, _ = self.bank.draw(rng)
        pixels = self.decoy(rng, face)
        if face[..., 3].min() < 255:
            alpha = face[..., 3:].astype(np.float32) / 255
            pixels = pixels[..., :3] * alpha + rng.integers(0, 256, 3) * (1 - alpha)
        return cv2.resize(pixels[..., :3].astype(np.uint8), (PLATE, PLATE), interpolation=cv2.INTER_LINEAR)

    def decoy(self, rng: np.random.Generator, face: np.ndarray) -> np.ndarray:
        """A copy of (S,S,4) whose face is smoothed away, shuffled, upside down, or covered by a texture."""
        side, kind = len(face), rng.choice(5, p=(0.3, 0.2, 0.15, 0.2, 0.15))
        if kind == 4:
            return np.ascontiguousarray(np.rot90(face, 2))
        mask = ellipse_mask(side, (0.5, 0.62), (0.33, 0.37))[..., None] / np.float32(255)
        out = face.copy()
        inner = (skin, shuffled, turned, self._patch)[kind](rng, face[..., :3])
        out[..., :3] = (face[..., :3] * (1 - mask) + inner * mask).astype(np.uint8)
        return out

    def _patch(self, rng: np.random.Generator, face: np.ndarray) -> np.ndarray:
        return cv2.resize(self._strip(rng), face.shape[1::-1], interpolation=cv2.INTER_LINEAR)


def skin(rng: np.random.Generator, face: np.ndarray) -> np.ndarray:
    """The face smoothed until no feature is left, with a little noise: (S,S,3) float32."""
    small = cv2.resize(face, (int(rng.integers(2, 5)),) * 2, interpolation=cv2.INTER_AREA)
    smooth = cv2.resize(small, face.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    return np.clip(smooth + rng.normal(0, rng.uniform(1, 10), face.shape), 0, 255).astype(np.float32)


def shuffled(rng: np.random.Generator, face: np.ndarray) -> np.ndarray:
    """The face's tiles in another order: features without their arrangement."""
    n = int(rng.choice((4, 8)))
    size = len(face) // n
    tiles = (
        face[: n * size, : n * size].reshape(n, size, n, size, 3).swapaxes(1, 2).reshape(-1, size, size, 3)
    )
    tiles = tiles[rng.permutation(len(tiles))].reshape(n, n, size, size, 3).swapaxes(1, 2)
    return cv2.resize(tiles.reshape(n * size, n * size, 3), face.shape[1::-1])


def turned(rng: np.random.Generator, face: np.ndarray) -> np.ndarray:
    """The face upside down or lying within its upright head."""
    side, degrees = len(face), float(rng.uniform(100, 260))
    matrix = cv2.getRotationMatrix2D((side * 0.5, side * 0.6), degrees, 1.0)
    return cv2.warpAffine(face, matrix, (side, side), borderMode=cv2.BORDER_REPLICATE)


def leaf(rng: np.random.Generator, radius: int) -> np.ndarray:
    """Corners (n,2) of a disc, or of a polygon of three to six corners, around 0."""
    n = int(rng.integers(3, 7)) if rng.random() < 0.4 else 20
    angles = np.linspace(0, 2 * np.pi, n, endpoint=False) + rng.uniform(0, np.pi)
    stretch = np.array([1, rng.uniform(0.3, 1)])
    a = rng.uniform(0, np.pi)
    spin = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
    return radius * (np.stack([np.cos(angles), np.sin(angles)], 1) * stretch) @ spin


def pebbles(rng: np.random.Generator) -> np.ndarray:
    """Round things of about one size that lie on one another in one light, as stones, fruit and coins do: each bright
    to one side, dark to the other, with a shadow around it and spots of its own."""
    tint = rng.integers(60, 200) + rng.normal(0, 12, 3)
    plate, size = np.full((PLATE, PLATE, 3), 0.4 * tint, np.float32), rng.uniform(5, 26)
    towards, strength = rng.uniform(0, 2 * np.pi), rng.uniform(10, 60)
    line = np.arange(PLATE, dtype=np.float32)
    for x, y in rng.uniform(0, PLATE, (int(1.6 * (PLATE / size) ** 2 / np.pi), 2)):
        radius = size * np.exp(rng.normal(0, 0.25))
        box = np.s_[
            max(int(y - 1.3 * radius), 0) : int(y + 1.3 * radius),
            max(int(x - 1.3 * radius), 0) : int(x + 1.3 * radius),
        ]
        turn, flat = rng.uniform(0, np.pi), rng.uniform(0.6, 1)
        dx, dy = (line[box[1]] - x)[None] / radius, (line[box[0]] - y)[:, None] / radius
        along, across = dx * np.cos(turn) + dy * np.sin(turn), (dy * np.cos(turn) - dx * np.sin(turn)) / flat
        far = np.sqrt(along**2 + across**2)
        light = strength * (dx * np.cos(towards) + dy * np.sin(towards)) - 0.5 * strength * far**2
        own = tint + rng.normal(0, 22) + light[..., None] + rng.normal(0, rng.uniform(1, 14), (*far.shape, 1))
        plate[box] *= 1 - 0.5 * np.clip(1.25 - far, 0, 1)[..., None]
        share = np.clip((1 - far) * radius, 0, 1)[..., None]
        plate[box] += share * (own - plate[box])
    return np.clip(plate, 0, 255).astype(np.uint8)


def shade(rng: np.random.Generator, side: int) -> np.ndarray:
    """A plane of light that rises in a random direction: (side,side) float32, about +-40."""
    slope = rng.normal(0, 25, 2).astype(np.float32)
    ramp = np.linspace(-1, 1, side, dtype=np.float32)
    return slope[0] * ramp + slope[1] * ramp[:, None]


def folds(rng: np.random.Generator) -> np.ndarray:
    """Cloth: one colour under bent waves of light, sometimes striped, chequered or with a row of buttons."""
    bend = cv2.resize(
        rng.standard_normal((4, 4, 2), np.float32), (PLATE, PLATE), interpolation=cv2.INTER_CUBIC
    )
    y, x = np.mgrid[:PLATE, :PLATE].astype(np.float32) / PLATE
    a, pitch = rng.uniform(0, np.pi), rng.uniform(1, 6)
    u = x * np.cos(a) + y * np.sin(a) + 0.15 * bend[..., 0]
    v = y * np.cos(a) - x * np.sin(a) + 0.15 * bend[..., 1]
    light = 1 + rng.uniform(0.1, 0.5) * np.sin(2 * np.pi * pitch * u) ** 3 * np.sin(np.pi * pitch * v)
    pattern = ((u * rng.uniform(4, 20)) % 1 < 0.4).astype(np.float32)
    if rng.random() < 0.4:
        pattern *= (v * rng.uniform(4, 20)) % 1 < 0.4
    first, second = rng.integers(0, 256, (2, 3))
    colour = first + (second - first) * (pattern * (rng.random() < 0.4))[..., None]
    plate = np.clip(colour * light[..., None] + rng.normal(0, 4, (PLATE, PLATE, 1)), 0, 255).astype(np.uint8)
    if rng.random() < 0.4:
        for step in range(5):
            cv2.circle(
                plate, (PLATE // 2 + 2 * step, 16 + 30 * step), 4, [int(c) for c in second], -1, cv2.LINE_AA
            )
    return plate


def clouds(rng: np.random.Generator) -> np.ndarray:
    """Two colours mixed by noise of several octaves, or by a plain gradient: (PLATE,PLATE,3) uint8."""
    mix = np.zeros((PLATE, PLATE), np.float32)
    for octave in range(int(rng.integers(1, 6))):
        grid = rng.standard_normal((2 + 2**octave, 2 + 2**octave), np.float32)
        mix += (
            cv2.resize(grid, (PLATE, PLATE), interpolation=cv2.INTER_CUBIC) * rng.uniform(0.3, 0.8) ** octave
        )
    share = (1 / (1 + np.exp(-2 * mix)))[..., None]
    low, high = rng.integers(0, 256, (2, 3))
    return np.clip(low * share + high * (1 - share) + rng.normal(0, 6, share.shape), 0, 255).astype(np.uint8)


def shapes(rng: np.random.Generator) -> np.ndarray:
    """Discs, boxes, lines and eye-like dots over clouds, some in skin colours."""
    plate = clouds(rng)
    for _ in range(rng.integers(4, 30)):
        skin_tone = np.array([200, 150, 120]) * rng.uniform(0.35, 1.2)
        colour = tuple(
            int(v) for v in (rng.integers(0, 256, 3) if rng.random() < 0.6 else np.minimum(skin_tone, 255))
        )
        x, y = (int(v) for v in rng.integers(0, PLATE, 2))
        w, h = (int(v) for v in np.exp(rng.uniform(0.7, 4, 2)))
        if rng.random() < 0.6:
            cv2.ellipse(plate, (x, y), (w, h), float(rng.uniform(0, 180)), 0, 360, colour, -1, cv2.LINE_AA)
        elif rng.random() < 0.6:
            cv2.rectangle(plate, (x, y), (x + w, y + h), colour, -1)
        else:
            cv2.line(
                plate,
                (x, y),
                tuple(int(v) for v in rng.integers(0, PLATE, 2)),
                colour,
                1 + w // 8,
                cv2.LINE_AA,
            )
    return plate


def text(rng: np.random.Generator) -> np.ndarray:
    """Lines of random letters in random sizes over clouds."""
    plate, y = clouds(rng), 0
    while y < PLATE:
        size = float(rng.uniform(0.3, 1.2))
        line = "".join(chr(c) for c in rng.integers(33, 126, 30))
        colour = tuple(int(v) for v in rng.integers(0, 256, 3))
        y += int(26 * size)
        cv2.putText(plate, line, (-8, y), cv2.FONT_HERSHEY_SIMPLEX, size, colour, 1, cv2.LINE_AA)
    return plate
