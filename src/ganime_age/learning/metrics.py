"""Figures of merit as functions of plain arrays."""

from __future__ import annotations

import numpy as np


def auc(same: np.ndarray, different: np.ndarray) -> float:
    """Area under the ROC curve: the chance that a same-person score beats a different-person one. (N,), (M,)."""
    ranks = np.concatenate([same, different]).argsort(kind="stable").argsort(kind="stable") + 1.0
    return float((ranks[: len(same)].sum() - len(same) * (len(same) + 1) / 2) / (len(same) * len(different)))


def pair_scores(embeddings: np.ndarray, person: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cosines of all same-person and all different-person pairs. embeddings (N,D) unit length, person (N,)."""
    first, second = np.triu_indices(len(embeddings), 1)
    scores = (embeddings[first] * embeddings[second]).sum(1)
    same = person[first] == person[second]
    return scores[same], scores[~same]


def correlations(read: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Pearson correlation of every column over the rows that have a label; NaN for a column without. (N,K) each."""
    out = np.full(read.shape[1], np.nan)
    for k in range(read.shape[1]):
        has = ~np.isnan(true[:, k])
        if has.sum() > 2 and true[has, k].std() > 0 and read[has, k].std() > 0:
            out[k] = np.corrcoef(read[has, k], true[has, k])[0, 1]
    return out
