"""Every loss of the training, as a pure function: its equation, its paper, and why it stands in a recipe.

Notation: x a real face, G(x) a generated one, D a discriminator, sp(t) = log(1 + e^t) (softplus), E the mean over the
batch. A function returns an unweighted scalar; `weighted_sum` is the one place where weights come in. The perceptual
distance is a network of its own (networks/perceptual.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..edits import GROUP_STARTS
from ..networks.age_groups import GROUPS
from ..networks.judging.age_judge import OLDEST
from ..networks.layers import constant, places
from ..networks.readers import YEARS
from .engine.task import Losses
from .evaluation.metrics import landmark_error

DECADE = 10.0
"""Ages and angles enter their losses in tens of years and of degrees, so that one weight suits both."""
APERTURES = ((62, 66), (37, 41), (38, 40), (43, 47), (44, 46))
"""Pairs of iBUG points whose distance tells how far open something is: inner lips, then two pairs for each eye."""


def weighted_sum(
    terms: Mapping[str, Tensor], weights: Mapping[str, float], shown: Mapping[str, Tensor] | None = None
) -> Losses:
    """sum_k w_k L_k, and every term for the log: unweighted and detached, still on its device.

    terms: scalars, each with its weight in `weights` (KeyError for one without). shown: scalars that are only logged.
    """
    # In float32: in bfloat16 a small term would vanish beside a large one.
    total = reduce(torch.add, (weights[name] * value.float() for name, value in terms.items()))
    # Nothing becomes a Python number here: the loop fetches all logged scalars of a step in one transfer.
    return Losses(total, {name: value.detach() for name, value in {**terms, **(shown or {})}.items()})


def over_rows(values: Tensor, rows: Tensor | None) -> Tensor:
    """E over the rows that count: sum_i r_i v_i / sum_i r_i, v_i the mean of row i of (B,...), r (B,) 0/1; None: all.

    0 when no row counts.
    """
    # Rows that do not count are weighed with 0 instead of being left out: a batch that keeps its size lets no host wait
    # for its length, and a compiled network needs no second graph.
    if rows is None:
        return values.mean()
    of_rows = values.flatten(1).mean(1) if values.dim() > 1 else values
    return (of_rows * rows).sum() / rows.sum().clamp_min(1)


# ---------------------------------------------------------------------------------------------------- adversaries


def relativistic(better: Tensor, worse: Tensor) -> Tensor:
    """Relativistic pairing loss (Jolicoeur-Martineau 2018; R3GAN, Huang et al. 2024): E sp(D(worse) - D(better)).

    better, worse: patch logits (B,1,h,w). The discriminator is given (real, generated), the generator the reverse.
    """
    # Row i of both belongs to the same face, so whatever makes that face easy or hard to tell cancels out.
    return F.softplus(worse - better).mean()


def mismatched(wrong: Tensor, right: Tensor, applies: Tensor) -> Tensor:
    """Relativistic form of a matching-aware discriminator (Reed et al., ICML 2016): E a sp(D(x, wrong) - D(x, right)).

    wrong, right: patch logits (B,1,h,w) of real faces under another's label and under their own; applies: a, (B,) 0/1,
    whether the two labels differ enough to be told apart.
    """
    # Without it D could score realism alone and G would never have to fit the label.
    return (F.softplus(wrong - right).mean((1, 2, 3)) * applies).mean()


def logistic_real(logits: Tensor, rows: Tensor | None = None) -> Tensor:
    """E sp(-D): D on real faces, and G's non-saturating loss on its own (Goodfellow et al. 2014, section 3)."""
    return over_rows(F.softplus(-logits), rows)


def logistic_generated(logits: Tensor, rows: Tensor | None = None) -> Tensor:
    """E sp(D): the discriminator's loss on generated faces; see `logistic_real`."""
    return over_rows(F.softplus(logits), rows)


def far_groups(group: Tensor) -> Tensor:
    """Groups (B,) in 0..9 -> (B,10): equal shares for every group that is at least 1.5 away, 0 for the others."""
    numbers = torch.arange(GROUPS, device=group.device)
    # 1.5 spares both neighbours: labels of adjacent groups overlap, and calling them wrong would teach noise.
    far = ((numbers - group[:, None]).abs() >= 1.5).float()
    return far / far.sum(1, keepdim=True)


def wrong_groups(logits: Tensor, group: Tensor, rows: Tensor | None = None) -> Tensor:
    """E sum_k f_k sp(D_k(x)): real faces are refused in far groups f (after Reed et al., ICML 2016). (B,10), (B,)."""
    return over_rows((F.softplus(logits) * far_groups(group)).sum(1), rows)


def wasserstein(generated: Tensor, real: Tensor) -> Tensor:
    """E D(G(x)) - E D(x): the critic's loss (Arjovsky et al. 2017, eq. 2); the generator's is -E D(G(x))."""
    return generated.mean() - real.mean()


def critic_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor:
    """WGAN-GP (Gulrajani et al. 2017, eq. 3): E (|grad D(z)| - 1)^2, z = u x + (1 - u) G(x), u uniform in 0..1.

    critic: (B,3,S,S) -> (B,).
    """
    # One u a face: the penalty holds along the segments between pairs, where the optimal critic has slope 1.
    fraction = torch.rand(len(real), 1, 1, 1, device=real.device)
    mixed = (fraction * real + (1 - fraction) * fake).requires_grad_(True)
    slope = torch.autograd.grad(critic(mixed).sum(), mixed, create_graph=True)[0]
    return (slope.flatten(1).norm(dim=1) - 1).square().mean()


def gradient_penalty(logits: Tensor, face: Tensor, rows: Tensor | None = None) -> Tensor:
    """R1 (Mescheder et al. 2018, eq. 9): E |grad_x D(x)|^2 at real faces. logits (B,1,h,w), face (B,3,S,S)."""
    # Recipes apply it in every n-th step with n times the weight (lazy regularisation, StyleGAN2, section 3.1): the
    # double backward costs as much as the rest of the step. The mean over patches is one number a face; summing these
    # before differentiating gives every face its own gradient, as rows do not interact.
    slope = torch.autograd.grad(logits.mean((1, 2, 3)).sum(), face, create_graph=True)[0]
    return over_rows(slope.square().sum((1, 2, 3)), rows)


# --------------------------------------------------------------------------------------------- identity and age


def identity_triplet(
    person: Tensor, edited: Tensor, margin: float, people: Tensor | None = None, rows: Tensor | None = None
) -> Tensor:
    """Triplet loss of persons across ages (FaceNet, Schroff et al., CVPR 2015, equation 3; a term of AgeTransGAN).

        L = E max(0, |e - p|^2 - |e - n|^2 + margin)

    person, edited: unit codes (B,D) of faces and of their edits; n is the face before it in the batch that shows
    somebody else. people (B,): who is shown, -1 unknown, which is nobody else's face; None: all unknown. rows: see
    `over_rows`; a face whose batch shows nobody else does not count.
    """
    someone = people if people is not None else torch.full_like(person[:, 0], -1)
    differ = (someone[:, None] != someone[None]) | (someone[:, None] < 0)
    place = torch.arange(len(person), device=person.device)
    steps = (place[:, None] - place[None]) % len(person)  # how far back in the batch the other face lies
    steps = steps.masked_fill(~differ | (steps == 0), len(person))
    back, nearest = steps.min(1)
    near, far = ((edited - one).square().sum(1) for one in (person, person[nearest]))
    counted = (back < len(person)).to(near)
    return over_rows(F.relu(near - far + margin), counted if rows is None else counted * rows)


def mutual_identity(before: Tensor, after: Tensor, rows: Tensor | None = None) -> Tensor:
    """Multi-task identity (MI) loss: L_MI = 1 - E cos(E_A(I_s), E_A(I_t)).

    E_A: the identity branch of an attention-based feature decomposition (MTLFace, Huang et al., CVPR 2021), trained
    jointly with an age branch that takes what depends on age out of it. I_s, I_t: source and edited face.
    before, after: unit-length embeddings (B,D) of both.
    """
    # Embeddings have unit length, so the inner product is the cosine.
    return over_rows(1 - (before * after).sum(1), rows)


def age_gap_weight(source: Tensor, target: Tensor) -> Tensor:
    """SAM's weight of the identity loss (Alaluf et al. 2021): 0.75 + 0.25 cos(pi |t - s| / 100). Ages (B,) in years."""
    # A recogniser rates a child and the same person at 80 as less alike; full weight there would forbid ageing.
    return 0.75 + 0.25 * torch.cos(math.pi * (target - source) / 100)


def identity_loss(before: Tensor, after: Tensor, weight: Tensor, rows: Tensor | None = None) -> Tensor:
    """E w (1 - cos(before, after)): embeddings (B,D) of unit length, weights (B,)."""
    return over_rows(weight * (1 - (before * after).sum(1)), rows)


def age_l1(read: Tensor, wanted: Tensor, rows: Tensor | None = None) -> Tensor:
    """E |read - wanted|, years (B,) both."""
    return over_rows((read - wanted).abs(), rows)


def age_distribution(logits: Tensor, age: Tensor, spread: float = 2.0, rows: Tensor | None = None) -> Tensor:
    """Label distribution learning (Geng et al. 2013; DLDL, Gao et al. 2017): -E sum_y q_y log p_y, q Gaussian.

    logits (B,101), one a year; age (B,) in years; spread: q's standard deviation in years.
    """
    years = torch.arange(YEARS, device=age.device)
    target = torch.exp(-0.5 * ((years - age.clamp(0, 100)[:, None]) / spread) ** 2)
    # Normalised over 0..100: near both ends half of the Gaussian lies outside.
    return over_rows(-(target / target.sum(1, keepdim=True) * logits.log_softmax(1)).sum(1), rows)


def ordinal(logits: Tensor, age: Tensor, softness: float = 1.5) -> Tensor:
    """Ordinal regression (Niu et al., CVPR 2016): binary cross-entropy of "older than k years?", k = 0..99.

    logits (B,100), age (B,) in years. The target is sigmoid((age - k - 0.5) / softness), softness in years.
    """
    years = torch.arange(OLDEST, device=age.device)
    # The step is soft because labels are: a photo "of 30" may show anybody from 29 to 31.
    target = torch.sigmoid((age[:, None] - years - 0.5) / softness)
    return F.binary_cross_entropy_with_logits(logits, target)


def ordinal_range(logits: Tensor, low: Tensor, high: Tensor, softness: float = 1.5) -> Tensor:
    """`ordinal` where a label is an age range: thresholds that the range answers are learnt, those inside it are free.

    logits (B,100); low, high (B,) in years, equal where the age is known. A chance p_k = P(older than k) is drawn to
    the nearer end of [t_k(low), t_k(high)], t_k(a) = sigmoid((a - k - 0.5) / softness), and is left alone inside.
    """
    years = torch.arange(OLDEST, device=low.device)
    ends = [torch.sigmoid((age[:, None] - years - 0.5) / softness) for age in (low, high)]
    # The gradient of the cross-entropy is p - t: with t = p it is zero, whatever p is.
    target = torch.minimum(torch.maximum(logits.detach().sigmoid(), ends[0]), ends[1])
    return F.binary_cross_entropy_with_logits(logits, target)


def outside_range(age: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """E of the distance in years from an age to its range: 0 inside. (B,) each."""
    return (F.relu(low - age) + F.relu(age - high)).mean()


def age_groups(age: Tensor) -> Tensor:
    """Years (B,) -> FFHQ-Aging's groups (B,) in 0..9."""
    return torch.bucketize(age, constant(GROUP_STARTS[1:], age), right=True)


def age_group(logits: Tensor, age: Tensor, rows: Tensor | None = None) -> Tensor:
    """MTLFace's age term: -E log P(group), P(group) the sum of p over the group's years. (B,101), (B,) in years."""
    log_p = logits.log_softmax(1)
    ends = (*GROUP_STARTS[1:], YEARS)
    # logsumexp adds probabilities in the log domain: a group's years may all be unlikely.
    groups = [log_p[:, low:high].logsumexp(1) for low, high in zip(GROUP_STARTS, ends, strict=True)]
    return over_rows(F.nll_loss(torch.stack(groups, 1), age_groups(age), reduction="none"), rows)


class ReversedGradient(torch.autograd.Function):
    """Gradient reversal (Ganin and Lempitsky, ICML 2015): R(x) = x forward, dR/dx = -1 backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return -gradients[0]


def reversed_gradient(x: Tensor) -> Tensor:
    """x itself, whose gradient comes back with the other sign: what follows learns, what came before unlearns."""
    return ReversedGradient.apply(x)  # type: ignore[no-untyped-call]


def hidden_age(
    seeker: Callable[[Tensor], Tensor], identity: Tensor, age: Tensor, rows: Tensor | None = None
) -> Tensor:
    """MTLFace's adversary: cross-entropy of the age group that `seeker` finds in an identity (B,D). age (B,) in years.

    seeker: (B,D) -> logits (B,10). It descends on this loss, the identity ascends.
    """
    found = seeker(reversed_gradient(identity))
    return over_rows(F.cross_entropy(found, age_groups(age), reduction="none"), rows)


def cosface(
    embedding: Tensor, centres: Tensor, person: Tensor, scale: float = 32.0, margin: float = 0.2
) -> Tensor:
    """CosFace (Wang et al. 2018, eq. 4): cross-entropy of s (cos_j - m [j = person]). (B,D), (P,D), (B,) class.

    Rows of class -1, persons that nobody knows, do not count.
    """
    rows, person = (person >= 0).float(), person.clamp_min(0)
    cosine = embedding @ F.normalize(centres, dim=1).T
    # The margin is taken off the true class alone, which must therefore win by m.
    logits = scale * (cosine - margin * F.one_hot(person, len(centres)))
    return over_rows(F.cross_entropy(logits, person, reduction="none"), rows)


def taught_identity(embedding: Tensor, teacher: Tensor, rows: Tensor | None = None) -> Tensor:
    """Distillation by direction: E (1 - cos). (B,D) of unit length both."""
    return over_rows(1 - (embedding * teacher).sum(1), rows)


def relations(embedding: Tensor, teacher: Tensor, rows: Tensor | None = None) -> Tensor:
    """Similarity-preserving distillation (Tung and Mori, ICCV 2019): 10 mean (E E^T - T T^T)^2. (B,D), unit length."""
    # Who resembles whom is fixed even where the two spaces differ by a rotation.
    error = (embedding @ embedding.T - teacher @ teacher.T).square()
    return 10 * over_rows(error.flatten(), None if rows is None else (rows[:, None] * rows).flatten())


def similarity_distribution(embedding: Tensor, teacher: Tensor, bank: Tensor, scale: float) -> Tensor:
    """-sum_j softmax_j(scale t.b_j) log softmax_j(scale s.b_j) over a bank b of a teacher's embeddings (SEED, Fang et
    al., ICLR 2021, eq. 4), to which the teacher's of these faces are added. s, t (B,D), b (N,D), of unit length."""
    # Strangers who look alike weigh most. Two photos of one person are no strangers: the teacher's softmax says so.
    among = torch.cat([teacher, bank]).T  # (D,B+N)
    wanted = (scale * teacher @ among).softmax(1)
    return -(wanted * (scale * embedding @ among).log_softmax(1)).sum(1).mean()


# ------------------------------------------------------------------------------- action units, pose, landmarks


def huber(error: Tensor, counted: Tensor | None = None) -> Tensor:
    """Huber's loss (1964) with threshold 1: e^2 / 2 within, |e| - 1/2 beyond; mean over the entries that are `counted`,
    bool of the error's shape, None: over all. What is not counted may be NaN."""
    if counted is None:
        return F.smooth_l1_loss(error, torch.zeros_like(error))
    error = torch.where(counted, error, 0.0)  # NaN times 0 would be NaN, and so would the gradient
    each = F.smooth_l1_loss(error, torch.zeros_like(error), reduction="none")
    return over_rows(each.flatten(), counted.float().flatten())


def trusted_units(read: Tensor, wanted: Tensor, spread: Tensor, trust: Tensor) -> Tensor:
    """E sum_k t_k huber((read_k - wanted_k) / s_k) / sum_k t_k: readings (B,17); spread s, trust t (17,).

    trust: squared correlation of a unit's reading with its label, so that a unit the reader cannot see asks nothing.
    """
    error = (read - wanted) / spread
    return (trust * F.smooth_l1_loss(error, torch.zeros_like(error), reduction="none")).sum(
        1
    ).mean() / trust.sum()


def known_square_error(read: Tensor, wanted: Tensor) -> Tensor:
    """Mean squared error over entries whose target is not NaN; 0 when none is known. GANimation, eq. 4."""
    known = ~wanted.isnan()
    # nan_to_num before the subtraction: a NaN times 0 would still poison the gradient.
    error = torch.where(known, read - wanted.nan_to_num(0.0), 0.0)
    return error.square().sum() / known.sum().clamp_min(1)


def pose_l1(read: Tensor, wanted: Tensor) -> Tensor:
    """E |yaw, pitch| in tens of degrees: poses (B,3) in degrees. Roll is fixed by the frame and left out."""
    return (read[:, :2] - wanted[:, :2]).abs().mean() / DECADE


def eye_distances(
    found: Tensor, true: Tensor, points: Tensor | slice = slice(None), rows: Tensor | None = None
) -> Tensor:
    """Mean point-to-point error over `points`, in 3 % of the distance of the outer eye corners. (B,68,2) both."""
    # 3 % is the error that the readers aim at, so the term of good readers is near 1.
    return over_rows(landmark_error(found, true, points), rows) / 3


def apertures(landmarks: Tensor) -> Tensor:
    """Landmarks (B,68,2) -> distances of the pairs of APERTURES, in distances of the outer eye corners, (B,5)."""
    first, second = (landmarks[:, places(tuple(pair[i] for pair in APERTURES), landmarks)] for i in (0, 1))
    eyes = (landmarks[:, 36] - landmarks[:, 45]).norm(dim=1, keepdim=True)
    return (first - second).norm(dim=2) / eyes.clamp_min(1e-3)


def aperture_l1(found: Tensor, true: Tensor) -> Tensor:
    """E |opening - true opening| of lips and lids in % of the eye distance. (B,68,2) both."""
    # Errors of the two lips may cancel in `eye_distances` and still close an open mouth.
    return 100 * (apertures(found) - apertures(true)).abs().mean()


def point_distance(found: Tensor, wanted: Tensor) -> Tensor:
    """Mean Euclidean distance of points (B,N,2), in their own unit."""
    return (found - wanted).norm(dim=2).mean()


# ---------------------------------------------------------------------------------------------------------- pixels


def pixel_l1(a: Tensor, b: Tensor) -> Tensor:
    """E |a - b|: GANimation's cycle ("identity loss", eq. 5), after CycleGAN (Zhu et al. 2017, eq. 2)."""
    return (a - b).abs().mean()


def masked_l1(a: Tensor, b: Tensor, weight: Tensor) -> Tensor:
    """E w |a - b| of (B,3,S,S) with a weight (B,1,1,1) or (B,1,S,S); the mean is over all pixels."""
    return ((a - b).abs() * weight).mean()


def weighted_l1(a: Tensor, b: Tensor, weight: Tensor) -> Tensor:
    """sum w |a - b| / sum w: the mean over pixels that weigh something. (B,3,S,S); weight (B,1,S,S)."""
    # The floor keeps a batch in which no pixel counts from dividing by zero; its term is 0.
    return masked_l1(a, b, weight) / weight.mean().clamp_min(1e-3)


def recoloured(face: Tensor, like: Tensor, where: Tensor) -> Tensor:
    """Colour transfer (Reinhard et al. 2001) in RGB: (x - mean) s' / s + mean', clamped to [-1,1].

    Means and standard deviations of each channel, of `face` (mean, s) and of `like` (mean', s'), both (B,3,S,S), are
    taken within `where` (B,1,S,S).
    """
    total = where.sum((2, 3), keepdim=True).clamp_min(1e-3)

    def moments(x: Tensor) -> tuple[Tensor, Tensor]:
        mean = (x * where).sum((2, 3), keepdim=True) / total
        # A floor of 0.05 keeps a flat channel from being stretched to noise.
        return mean, ((x - mean).square() * where).sum((2, 3), keepdim=True).div(total).sqrt().clamp_min(0.05)

    (mean, spread), (wanted, wide) = moments(face), moments(like)
    return ((face - mean) * wide / spread + wanted).clamp(-1, 1)


def recoloured_l1(generated: Tensor, target: Tensor, like: Tensor, face: Tensor, weight: Tensor) -> Tensor:
    """`weighted_l1` to another photo of the person, with the colours that `like` has within `face` (B,1,S,S)."""
    # Two photos of one person differ in light, which the generator cannot know.
    return weighted_l1(generated, recoloured(target, like, face), weight)


def coarse_colour(before: Tensor, after: Tensor, side: int = 8) -> Tensor:
    """L1 of both faces, (B,3,S,S), averaged down to side x side: overall colours stay."""
    return (F.adaptive_avg_pool2d(before, side) - F.adaptive_avg_pool2d(after, side)).abs().mean()


def shade(change: Tensor, side: int = 8, rows: Tensor | None = None) -> Tensor:
    """Mean square of a change (B,3,S,S) averaged down to side x side: a price on broad lights and shadows."""
    # Readers can be satisfied by shading more easily than by wrinkles. Squared, so that a small shade costs next to
    # nothing and training can start.
    return over_rows(F.adaptive_avg_pool2d(change, side).square(), rows)


# ----------------------------------------------------------------------------------------------------------- masks


def band(mean: Tensor, low: float, high: float) -> Tensor:
    """(max(0, low - m) + max(0, m - high))^2: a mask's mean m must stay in low..high."""
    # A mask of 0 (nothing is edited) and one of 1 (all is repainted) are both collapsed solutions.
    return (F.relu(low - mean) + F.relu(mean - high)).square().mean()


def mask_energy(mask: Tensor) -> Tensor:
    """E A^2 of an attention (B,1,S,S): GANimation, eq. 3, second part; keeps A from copying everything."""
    return mask.square().mean()


def total_variation(mask: Tensor) -> Tensor:
    """Mean absolute step between neighbouring pixels of (B,1,H,W), rows plus columns."""
    return (mask[..., 1:, :] - mask[..., :-1, :]).abs().mean() + (mask[..., 1:] - mask[..., :-1]).abs().mean()


def total_variation_sum(mask: Tensor) -> Tensor:
    """GANimation, eq. 3, first part: sum_ij (A_i+1,j - A_ij)^2 + (A_i,j+1 - A_ij)^2, mean over the batch. (B,1,S,S)."""
    # A sum over the picture, not a mean: the published weight of 1e-5 is for the sum.
    down, right = mask[..., 1:, :] - mask[..., :-1, :], mask[..., 1:] - mask[..., :-1]
    return (down.square().sum((1, 2, 3)) + right.square().sum((1, 2, 3))).mean()


def binary(logits: Tensor, target: Tensor, rows: Tensor | None = None) -> Tensor:
    """Binary cross-entropy, mean over all entries: a hair mask per pixel, face or not per crop. Targets in 0..1."""
    return over_rows(F.binary_cross_entropy_with_logits(logits, target, reduction="none"), rows)


# ------------------------------------------------------------------------------------------------------- detection


def focal(logits: Tensor, target: Tensor, counted: Tensor) -> Tensor:
    """Focal loss (Lin et al., ICCV 2017, eq. 5): -a_t (1 - p_t)^2 log p_t, a_t = 0.25 on faces and 0.75 elsewhere.

    logits, target (0/1), counted (bool): (B,h,w) each. Summed over counted cells, divided by the number of face cells.
    """
    p = logits.sigmoid()
    wrong = torch.where(target > 0, 1 - p, p)  # 1 - p_t
    # Hundreds of cells see easy background; the square takes their weight away.
    weight = torch.where(target > 0, 0.25, 0.75) * wrong**2 * counted
    loss = weight * F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return loss.sum() / target.sum().clamp_min(1)


def frame_error(found: Tensor, wanted: Tensor, face: Tensor) -> Tensor:
    """Huber error (threshold 0.05) of frames (B,4,h,w) in fractions of their side, mean over face cells (B,h,w)."""
    # Smooth L1 as in Fast R-CNN (Girshick 2015, eq. 3); dividing by the side treats small and large faces alike.
    side = wanted[:, 2:].norm(dim=1, keepdim=True).clamp_min(1)
    error = F.smooth_l1_loss(found / side, wanted / side, reduction="none", beta=0.05).sum(1)
    return (error * face).sum() / face.sum().clamp_min(1)


def crop_landmarks(found: Tensor, true: Tensor, is_face: Tensor) -> Tensor:
    """Mean distance in outer eye distances over points inside the crop. (B,68,2) in 0..1 both; is_face (B,) 0/1."""
    inside = ((true > 0) & (true < 1)).all(-1) * is_face[:, None]
    eyes = (true[:, 36] - true[:, 45]).norm(dim=-1).clamp_min(1e-3)
    # The square root has no gradient at 0; 1e-8 bounds it.
    distance = ((found - true).square().sum(-1) + 1e-8).sqrt() / eyes[:, None]
    return (distance * inside).sum() / inside.sum().clamp_min(1)
