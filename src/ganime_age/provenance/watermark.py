"""A faint mark in the face itself: a fixed noise, drawn in the aligned frame and detected from the face. Outside the
head there is none, but beside small faces and in clips, where what lies around is not even and hides it.

Spread spectrum (Cox et al., "Secure spread spectrum watermarking for multimedia", IEEE TIP 1997) with two changes.
The noise lives in the face's frame, not in the photo's pixel grid: resizing, cropping or turning the photo moves the
face and the noise together, and the detector brings both back. The mark carries no message, so it holds nothing about a
person; it is there or not.

Embedding. With a phase p(f) drawn from the key for each frequency f of a band, a weight a(f) that grows from 0 to 1
over COARSE, and a mask m(x) that grows with the local contrast of the face I, from FLAT to 1 on the head and from 0 to
at most 1 around it,

    n(x) = sum_f a(f) cos(2 pi f.x + p(f)), scaled to unit variance,        I'(x) = I(x) + STRENGTH m(x) n(x).

On smooth skin coarse noise is mottled skin, so the mark has little of both: as much as a face of that size needs.

Detection is a phase correlation. With F the phases of the flattened face and P those of the key, both of modulus 1,

    s(d) = sqrt(2 / N) sum_f Re( F(f) conj(P(f)) e^(2 pi i f.d) )        for each shift d, N frequencies.

The phases P are random, so for *any* picture without the mark each term is a cosine of a random angle, of mean 0 and
variance 1/2: s(d) has mean 0 and variance 1, and since E exp(a cos) = I_0(a) <= exp(a^2 / 4) its tail falls as a
normal one's, whatever the picture shows. `false_positive_rate` adds up that tail over all positions that are tried.
"""

from __future__ import annotations

import hashlib
import math
from functools import lru_cache

import cv2
import numpy as np

from ..images.alignment import border_mask, crop

KEY = b"ganime_age mark 1"
STRENGTH = 2.0  # root mean square of the noise in grey levels, where the face has detail to hide it
CLIP_STRENGTH = 2.75  # of a clip's frames, since compressing them takes away more than saving a photo does
# Photo pixels in a frame's side: faces up to the first are small, from the second on large; the next two are of small
# and of large faces.
SMALL = (160, 256)
FLAT = (0.74, 0.28)  # share of the noise that is left where there is no detail, as on smooth skin
BUSY = (5.0, 13.0)  # standard deviation of the brightness around a pixel, in levels, that hides all of it
CROWN = 1.1  # height of a head above the brows, in distances from the brows to the mouth
HEAD_EDGE = 0.012  # of the frame's side: standard deviation of the soft edge of a head
HIDES = (0.8, 2.4)  # as BUSY: outside the head it is left out up to the first, and whole from the second on
NEEDED = (256, 512)  # photo pixels in a frame's side: up to the first it is needed there, from the second not
BESIDE = 0.035  # of the frame's side: how far beside an outline its contrast is measured too
BAND = (8, 42)  # cycles per frame of which the key has phases
COARSE = (14, 22)  # cycles per frame up to which the noise holds none of them, and from which on all
THRESHOLD = 6.5  # standard deviations from which a score counts as the mark

LARGEST = 256  # side of the frame at which the mark is drawn; a larger face gets it enlarged
SIDE = 128  # of the frame when the mark is looked for
STILL = 8.0  # variance, in grey levels squared, of a surface that hides nothing of the mark
AROUND = 1.25  # side of the crop that is turned and scaled, in frames
SHIFT = 5  # pixels of SIDE
SCALES = np.geomspace(0.87, 1.12, 14)
TURNS = np.radians(np.linspace(-2.4, 2.4, 5))
FINE = 2  # shifts a pixel that are tried there
NEAR_SCALES = np.geomspace(0.99, 1.01, 3)  # around the best of those
NEAR_TURNS = np.radians([-0.5, 0.0, 0.5])


def add_watermark(
    face: np.ndarray,
    landmarks: np.ndarray | None = None,
    strength: float = STRENGTH,
    side: float | None = None,
) -> np.ndarray:
    """An aligned face (S,S,3) in 0..255 with the noise added to its brightness: float32 (S,S,3), not clipped.

    landmarks: (68,2) in 0..1 of the frame; outside their head nothing is added where the picture is even. None: the
    whole frame is marked. strength: root mean square of the noise in grey levels, where all of it is hidden. side: how
    many pixels of the photo the frame's side takes: a large face needs less on smooth skin, and nothing outside its
    head. None: as for a small one."""
    face = np.asarray(face, np.float32)
    size = min(len(face), LARGEST)  # the noise is coarser than a pixel of LARGEST
    grey = cv2.transform(face, np.full((1, 3), 1 / 3))
    if size < len(face):
        grey = cv2.resize(grey, (size, size), interpolation=cv2.INTER_AREA)
    # Local contrast: the standard deviation of what is finer than 1.2 % of the side, over 2 % of it.
    detail = grey - cv2.GaussianBlur(grey, (0, 0), 0.012 * size)
    busy = np.sqrt(cv2.GaussianBlur(detail**2, (0, 0), 0.02 * size))
    flat, most = hiding(side)
    mark = strength * (flat + (1 - flat) * np.clip(busy / most, 0, 1)) * noise(size)
    if landmarks is not None:
        # An outline hides nothing beside it: there the least contrast nearby counts.
        reach = 2 * round(BESIDE * size) + 1
        calm = cv2.GaussianBlur(cv2.erode(busy, np.ones((reach, reach), np.uint8)), (0, 0), HEAD_EDGE * size)
        low, high = HIDES
        hidden = np.clip((calm - low) / (high - low), 0, 1)
        mark *= np.maximum(head_mask(landmarks, size), hidden * needed(side, NEEDED))
    if size < len(face):
        mark = cv2.resize(mark, face.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    return face + mark[..., None]


def needed(side: float | None, sides: tuple[int, int]) -> float:
    """From 1 down to 0 between two `sides` of a frame in the photo's pixels; 1 for None."""
    few, many = sides
    return 1.0 if side is None else min(max((many - side) / (many - few), 0.0), 1.0)


def hiding(side: float | None) -> tuple[float, float]:
    """FLAT and BUSY of a face whose frame's side takes so many pixels of the photo."""
    small = needed(side, SMALL)
    flat, busy = (large + small * (little - large) for little, large in (FLAT, BUSY))
    return flat, busy


def head_mask(landmarks: np.ndarray, size: int) -> np.ndarray:
    """(size,size) float32: 1 on the head with these landmarks (68,2) in 0..1, falling to 0 across its outline."""
    points = np.asarray(landmarks, np.float64)
    brows, mouth = points[17:27], points[48:68].mean(0)
    crown = brows + CROWN * (brows.mean(0) - mouth)
    outline = cv2.convexHull(np.concatenate([points[:27], crown]).astype(np.float32))
    head = np.zeros((size, size), np.float32)
    cv2.fillConvexPoly(head, np.round(outline * size).astype(np.int32), 1.0)
    soft: np.ndarray = cv2.GaussianBlur(head, (0, 0), HEAD_EDGE * size)
    return soft


@lru_cache(maxsize=4)
def noise(size: int, key: bytes = KEY) -> np.ndarray:
    """The mark (size,size) float32, mean 0 and root mean square 1; the same picture at every size."""
    frequencies, phases = band(key)
    spectrum = np.zeros((size, size // 2 + 1), np.complex64)
    # A small face cannot hold the finest frequencies (Nyquist); the others are the same at every size.
    inside = (np.abs(frequencies) * 2 < size).all(1)
    u, v = frequencies[inside].T
    weights = np.clip((np.hypot(u, v) - COARSE[0]) / (COARSE[1] - COARSE[0]), 0, 1)
    # The first pixel's centre is at 0.5.
    spectrum[v, u] = weights * phases[inside] * np.exp(1j * np.pi * (u + v) / size)
    drawn = np.fft.irfft2(spectrum, (size, size))
    drawn = (drawn / max(drawn.std(), 1e-12)).astype(np.float32)  # a frame of 20 pixels holds none of it
    drawn.flags.writeable = False
    return drawn


@lru_cache(maxsize=4)
def band(key: bytes = KEY) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies (N,2) int, x 1.. and y, in cycles per frame, and the key's phases (N,) as unit complex numbers."""
    low, high = BAND
    # A real picture's spectrum is symmetric, so half the plane (u > 0) holds all of it.
    u, v = np.meshgrid(np.arange(1, high + 1), np.arange(-high, high + 1))
    radius = np.hypot(u, v)
    held = (radius >= low) & (radius <= high)
    # SHAKE-256 gives the same bits on every machine and for ever; a library's random generator promises neither.
    drawn = np.frombuffer(hashlib.shake_256(key).digest(4 * int(held.sum())), "<u4")
    return np.c_[u[held], v[held]], np.exp(2j * np.pi * drawn / 2**32)


def score(photo: np.ndarray, matrix: np.ndarray, key: bytes = KEY) -> float:
    """How surely the face in a frame carries the mark, in standard deviations; from THRESHOLD on it does.

    photo (H,W,3) uint8; matrix: photo pixels -> a frame of SIDE pixels, as from `frame_matrix(landmarks, SIDE)`. The
    frame may be off by about 10 % in size, 3 degrees and 4 % in place.
    """
    side = round(SIDE * AROUND)
    around = matrix.copy()
    around[:, 2] += (side - SIDE) / 2
    best, scale, turn = _best(_cut(photo, around, side), SCALES, TURNS, key)
    # Scaling what was cut out blurs the finest of the noise: what was found is cut out of the photo anew.
    placed = _turning(side, scale, turn) @ np.vstack([around, [0, 0, 1]])
    return max(best, _best(_cut(photo, placed, side), NEAR_SCALES, NEAR_TURNS, key, FINE)[0])


def false_positive_rate(threshold: float = THRESHOLD, faces: int = 1) -> float:
    """Bound on the chance that unmarked faces reach a score: normal tail times the positions that may be tried."""
    # The union bound: P(max of n scores >= t) <= n P(N(0,1) >= t), P(N(0,1) >= t) = erfc(t / sqrt 2) / 2.
    near = len(NEAR_SCALES) * len(NEAR_TURNS) * (2 * (FINE * SHIFT + 1 - FINE) + 1) ** 2
    tried = len(SCALES) * len(TURNS) * ((2 * SHIFT + 1) ** 2 + near)
    return min(1.0, faces * tried * 0.5 * math.erfc(threshold / math.sqrt(2)))


def _cut(photo: np.ndarray, matrix: np.ndarray, side: int) -> np.ndarray:
    """The frame of a photo, flattened."""
    return _flattened(cv2.cvtColor(crop(photo, matrix, side), cv2.COLOR_RGB2GRAY).astype(np.float32))


def _flattened(grey: np.ndarray) -> np.ndarray:
    """High-pass detail divided by the local variance, so that the noise weighs most on smooth skin."""
    detail = grey - cv2.GaussianBlur(grey, (0, 0), 1.25)
    # A matched filter weighs a known signal by its strength over the variance of what hides it (Turin, IRE 1960); of
    # grey hair, whose strands hide the most, little remains.
    return detail / (cv2.GaussianBlur(detail**2, (0, 0), 1.2) + STILL)


def _turning(side: int, scale: float, turn: float) -> np.ndarray:
    """(2,3): a picture of `side` pixels scaled and turned (radians) about its middle."""
    middle = side / 2 - 0.5
    return np.asarray(cv2.getRotationMatrix2D((middle, middle), math.degrees(turn), scale), np.float64)


def _best(
    flat: np.ndarray, scales: np.ndarray, turns: np.ndarray, key: bytes, fine: int = 1
) -> tuple[float, float, float]:
    """Highest score, with its scale and turn. fine: shifts a pixel that are tried."""
    frequencies, phases = band(key)
    u, v = frequencies.T
    window, found = border_mask(SIDE), []
    for scale in scales:
        for turn in turns:
            matrix = _turning(len(flat), scale, turn)
            matrix[:, 2] += (SIDE - len(flat)) / 2
            view = cv2.warpAffine(flat, matrix, (SIDE, SIDE), flags=cv2.INTER_CUBIC) * window
            seen = np.fft.rfft2(view)[v, u]
            # Phases alone count: a strong edge of the face weighs no more than a faint frequency of the mark.
            agreement = seen / (np.abs(seen) + 1e-12) * phases.conj()
            # Zeros beyond the band sample the same function more finely.
            size, reach = fine * SIDE, fine * SHIFT + 1 - fine  # a shift at the end is not gone beyond
            spectrum = np.zeros((size, size // 2 + 1), np.complex64)
            spectrum[v, u] = agreement
            # irfft2 sums both half planes (twice the real part) and divides by size^2; each term's variance is 1/2.
            place = np.fft.irfft2(spectrum, (size, size)) * size**2 / math.sqrt(2 * len(u))
            # Shifts wrap around: rolled, -SHIFT..SHIFT lie in one square.
            near = np.roll(place, (reach, reach), (0, 1))[: 2 * reach + 1, : 2 * reach + 1]
            found.append((float(near.max()), float(scale), float(turn)))
    return max(found)
