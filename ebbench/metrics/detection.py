"""Anomaly detection: how well a score tells anomalies from the rest.

`scores` are float (n,), higher for what is more anomalous; `anomalous` is bool (n,), both classes
present. Energies are such scores as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.floating]
Labels = NDArray[np.bool_]


def flagged_at_percentile(scores: Scores, anomalous: Labels, percentile: float) -> dict[str, float]:
    """Precision, recall and F1 where every score at or above the percentile of all scores is flagged.

    The rule of MEG's and Zenati's code. Where many scores tie at the threshold it flags all of them:
    a constant score flags everything.
    """
    flagged = scores >= np.percentile(scores, percentile)
    return _f1(float((flagged & anomalous).sum()), float(flagged.sum()), float(anomalous.sum()))


def flagged_share(scores: Scores, anomalous: Labels, share: float) -> dict[str, float]:
    """Precision, recall and F1 where exactly the highest `share` of the scores is flagged.

    Scores that tie at the threshold are flagged in part, each with equal chance, and count by their
    expected number: a constant score has the precision of a coin.
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
    """Average precision, the trapezoid area under precision and recall ("auprc"), and AUROC.

    The trapezoid area is what MEG's and Zenati's code reports; it joins the points by straight lines,
    which precision does not follow (Davis and Goadrich 2006), and is a little too high.
    """
    from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_auc_score

    precision, recall, _ = precision_recall_curve(anomalous, scores)
    return {
        "auprc": float(auc(recall, precision)),
        "average_precision": float(average_precision_score(anomalous, scores)),
        "auroc": float(roc_auc_score(anomalous, scores)),
    }


def mean_of_last_ten(along: Sequence[float | None], *, final: bool) -> float | None:
    """MEG's statistic of a metric taken along training, the untrained net first; None for want of ten.

    The mean over the last ten evaluations of a net that was trained at all. Without `final` the one
    after the last epoch is left out, at which the authors did not look.
    """
    trained = [value for value in (along[1:] if final else along[1:-1]) if value is not None]
    return float(np.mean(trained[-10:])) if len(trained) >= 10 else None


def ceiling(n: int, positives: int, share: float) -> float:
    """The F1 of a perfect ranking of `n` examples when the highest `share` is flagged."""
    flagged = round(share * n)
    return 2 * min(flagged, positives) / (flagged + positives)


def drawn(scores: Scores, anomalous: Labels, points: int = 100, bins: int = 50) -> dict[str, Any]:
    """What a page draws of a scoring, as JSON: precision against recall, and both classes' histograms.

    The curve has `points` recalls, evenly spaced, each with the best precision at that recall or a
    higher one. The bins hold equal shares of all scores, so that one outlier does not empty the rest.
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
        # A recall that is met but for rounding counts as met.
        "precision": _short(best[np.searchsorted(recall[::-1], at - 1e-9)]),
        "edges": _short(edges),
        "normal": np.histogram(scores[~anomalous], edges)[0].tolist(),
        "anomalous": np.histogram(scores[anomalous], edges)[0].tolist(),
    }


def _short(values: NDArray[np.floating]) -> list[float]:
    return [float(f"{value:.6g}") for value in values]
