"""Figures of merit as functions of plain arrays."""

from __future__ import annotations

import numpy as np
from torch import Tensor


def auc(same: np.ndarray, different: np.ndarray) -> float:
    """Area under the ROC curve: the chance that a same-person score beats a different-person one. (N,), (M,)."""
    ranks = np.concatenate([same, different]).argsort(kind="stable").argsort(kind="stable") + 1.0
    return float((ranks[: len(same)].sum() - len(same) * (len(same) + 1) / 2) / (len(same) * len(different)))


def pair_scores(
    embeddings: np.ndarray, person: np.ndarray, cluster: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Cosines of all same-person and all different-person pairs. embeddings (N,D) unit length, person (N,).

    cluster: (N,), faces that may be one person whatever their labels say; pairs within one are not called different.
    """
    first, second = np.triu_indices(len(embeddings), 1)
    scores = (embeddings[first] * embeddings[second]).sum(1)
    same = person[first] == person[second]
    different = ~same if cluster is None else ~same & (cluster[first] != cluster[second])
    return scores[same], scores[different]


def correlations(read: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Pearson correlation of every column over the rows that have a label; NaN for a column without. (N,K) each."""
    out = np.full(read.shape[1], np.nan)
    for k in range(read.shape[1]):
        has = ~np.isnan(true[:, k])
        if has.sum() > 2 and true[has, k].std() > 0 and read[has, k].std() > 0:
            out[k] = np.corrcoef(read[has, k], true[has, k])[0, 1]
    return out


def threshold_at(different: np.ndarray, rate: float = 1e-3) -> float:
    """The least score that at most a share `rate` of the different-person scores (N,) exceeds; a pair that exceeds it
    is accepted as one person."""
    return float(np.sort(different)[::-1][int(rate * len(different))])


def kernel_distance(
    first: np.ndarray, second: np.ndarray, subset: int = 100, subsets: int = 50, seed: int = 0
) -> tuple[float, float]:
    """Kernel distance of two sets of features (N,D), (M,D) and its spread: mean and standard deviation over random
    subsets of the unbiased squared MMD with the kernel (x.y/D + 1)^3 (Binkowski et al., ICLR 2018)."""
    size = min(subset, len(first), len(second))
    if size < 2:
        raise ValueError(f"a kernel distance needs two or more of each, got {len(first)} and {len(second)}")
    chance, found = np.random.default_rng(seed), []
    for _ in range(subsets):
        x, y = (part[chance.choice(len(part), size, replace=False)].astype(float) for part in (first, second))
        within = [(k.sum() - np.trace(k)) / (size * (size - 1)) for k in (_cubic(x, x), _cubic(y, y))]
        found.append(sum(within) - 2 * _cubic(x, y).mean())
    return float(np.mean(found)), float(np.std(found))


def _cubic(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x @ y.T / x.shape[1] + 1) ** 3


def response(asked: np.ndarray, read: np.ndarray) -> tuple[float, float]:
    """Least-squares slope and Pearson correlation of what was read against what was asked, (N,) each; rows with NaN are
    left out, and what does not move has slope and correlation 0."""
    has = ~(np.isnan(asked) | np.isnan(read))
    if not has.any() or np.ptp(asked[has]) == 0 or np.ptp(read[has]) == 0:
        return 0.0, 0.0
    x, y = asked[has] - asked[has].mean(), read[has] - read[has].mean()
    return float(x @ y / (x @ x)), float(x @ y / np.sqrt((x @ x) * (y @ y)))


def landmark_error(found: Tensor, true: Tensor, points: Tensor | slice = slice(None)) -> Tensor:
    """Mean distance over the 68 points, or those of some indices, in % of the inter-ocular distance (outer eye corners,
    as on 300-W). -> (B,)."""
    eyes = (true[:, 36] - true[:, 45]).norm(dim=1).clamp_min(1e-6)
    return 100 * (found - true)[:, points].norm(dim=2).mean(1) / eyes


def kernel_distance_error(first: np.ndarray, second: np.ndarray, folds: int = 10) -> tuple[float, float]:
    """The unbiased squared MMD of two sets of features (N,D), (M,D), both of at least two, with the kernel of
    `kernel_distance`, on all of them; and its standard error, by leaving out a tenth of both at a time (jackknife)."""
    within = [_cubic(part.astype(float), part.astype(float)) for part in (first, second)]
    across = _cubic(first.astype(float), second.astype(float))

    def estimate(one: np.ndarray, two: np.ndarray) -> float:
        own = [k[np.ix_(kept, kept)] for k, kept in zip(within, (one, two), strict=True)]
        means = [(k.sum() - np.trace(k)) / (len(k) * (len(k) - 1)) for k in own]
        return float(sum(means) - 2 * across[np.ix_(one, two)].mean())

    everyone = np.arange(len(first)), np.arange(len(second))
    folds = min(folds, len(first) // 2, len(second) // 2)
    if folds < 2:
        return estimate(*everyone), float("nan")
    left = [estimate(*(who[who % folds != fold] for who in everyone)) for fold in range(folds)]
    return estimate(*everyone), float(np.sqrt((folds - 1) * np.var(left)))
