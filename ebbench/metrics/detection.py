"""Anomaly detection metrics: how well a score separates anomalies from normal examples.

`scores` are float (n,), higher for more anomalous examples, as energies are. `anomalous` is bool (n,) and has
both classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.floating]
Labels = NDArray[np.bool_]


def flagged_at_percentile(scores: Scores, anomalous: Labels, percentile: float) -> dict[str, float]:
    """Precision, recall and F1 if all scores at or above the percentile of all scores are flagged.

    The rule of MEG's and Zenati's code. It flags every score tied at the threshold, so a constant score flags
    everything.
    """
    flagged = scores >= np.percentile(scores, percentile)
    return _f1(float((flagged & anomalous).sum()), float(flagged.sum()), float(anomalous.sum()))


def flagged_share(scores: Scores, anomalous: Labels, share: float) -> dict[str, float]:
    """Precision, recall and F1 if exactly the highest `share` of the scores is flagged.

    Scores tied at the threshold are flagged at random with equal probability and count by their expectation,
    so a constant score has chance precision.
    """
    n = round(share * len(scores))
    threshold = np.partition(scores, len(scores) - n)[len(scores) - n]
    above, tied = scores > threshold, scores == threshold
    chance = (n - above.sum()) / tied.sum()
    hits = (above & anomalous).sum() + chance * (tied & anomalous).sum()
    return _f1(float(hits), float(n), float(anomalous.sum()))


def _f1(hits: float, flagged: float, positives: float) -> dict[str, float]:
    return {
        "precision": hits / flagged,
        "recall": hits / positives,
        "f1": 2 * hits / (flagged + positives),
    }


def areas(scores: Scores, anomalous: Labels) -> dict[str, float]:
    """Average precision, trapezoid area under the precision-recall curve ("auprc"), and AUROC.

    MEG's and Zenati's code reports the trapezoid area. It interpolates linearly between points, which
    precision does not follow (Davis and Goadrich 2006), and so is slightly too high.
    """
    from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_auc_score

    precision, recall, _ = precision_recall_curve(anomalous, scores)
    return {
        "auprc": float(auc(recall, precision)),
        "average_precision": float(average_precision_score(anomalous, scores)),
        "auroc": float(roc_auc_score(anomalous, scores)),
    }


def mean_of_last_ten(along: Sequence[float | None], *, final: bool) -> float | None:
    """MEG's statistic: the mean of a metric over the last ten evaluations; None if there are fewer.

    `along` holds the metric along training, the untrained network first, which does not count. Without
    `final` the evaluation after the last epoch is left out, as the authors did not make it.
    """
    trained = [value for value in (along[1:] if final else along[1:-1]) if value is not None]
    return float(np.mean(trained[-10:])) if len(trained) >= 10 else None


def ceiling(n: int, positives: int, share: float) -> float:
    """F1 of a perfect ranking of `n` examples with `positives` anomalies, the top `share` flagged."""
    flagged = round(share * n)
    return 2 * min(flagged, positives) / (flagged + positives)


def drawn(scores: Scores, anomalous: Labels, points: int = 100, bins: int = 50) -> dict[str, Any]:
    """Plot data of a score, as JSON: the precision-recall curve and a histogram of each class.

    The curve has `points` evenly spaced recalls, each with the best precision at that recall or higher. The
    bins hold equal shares of all scores, so that one outlier does not empty the others.
    """
    from sklearn.metrics import precision_recall_curve

    precision, recall, _ = precision_recall_curve(anomalous, scores)
    best = np.maximum.accumulate(precision)[::-1]
    at = np.linspace(0, 1, points + 1)[1:]
    edges = np.unique(np.quantile(scores, np.linspace(0, 1, bins + 1)))
    if len(edges) == 1:
        edges = np.array([edges[0] - 0.5, edges[0] + 0.5])
    return {
        "recall": _short(at),
        # The tolerance counts recalls that are reached up to rounding.
        "precision": _short(best[np.searchsorted(recall[::-1], at - 1e-9)]),
        "edges": _short(edges),
        "normal": np.histogram(scores[~anomalous], edges)[0].tolist(),
        "anomalous": np.histogram(scores[anomalous], edges)[0].tolist(),
    }


def _short(values: NDArray[np.floating]) -> list[float]:
    return [float(f"{value:.6g}") for value in values]
