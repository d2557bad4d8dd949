"""The anomaly metrics against scikit-learn, brute force and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score, precision_score, recall_score

from ebbench.metrics import detection

RANDOM = np.random.default_rng(0)


def example(n: int = 500, positives: int = 100) -> tuple[np.ndarray, np.ndarray]:
    anomalous = np.arange(n) < positives
    return RANDOM.normal(anomalous * 1.5, 1.0), anomalous


def test_flagging_a_share_is_sklearn_s_f1_where_nothing_ties():
    scores, anomalous = example()
    flagged = np.zeros(500, bool)
    flagged[np.argsort(scores)[-100:]] = True
    found = detection.flagged_share(scores, anomalous, 0.2)
    assert found["precision"] == pytest.approx(precision_score(anomalous, flagged))
    assert found["recall"] == pytest.approx(recall_score(anomalous, flagged))
    assert found["f1"] == pytest.approx(f1_score(anomalous, flagged))


def test_ties_count_by_their_expected_number():
    """Against the mean over many random orders of the tied scores."""
    scores = np.repeat([0.0, 1.0, 2.0], [50, 40, 10])
    anomalous = RANDOM.random(100) < 0.4
    found = detection.flagged_share(scores, anomalous, 0.3)
    hits = []
    for _ in range(4000):
        order = np.lexsort((RANDOM.random(100), scores))
        hits.append(anomalous[order[-30:]].sum())
    assert found["precision"] * 30 == pytest.approx(np.mean(hits), abs=0.15)


def test_a_constant_score_is_a_coin_or_flags_everything():
    anomalous = np.arange(1000) < 200
    constant = np.zeros(1000)
    assert detection.flagged_share(constant, anomalous, 0.2) == pytest.approx(
        {"precision": 0.2, "recall": 0.2, "f1": 0.2}
    )
    assert detection.flagged_at_percentile(constant, anomalous, 80) == pytest.approx(
        {"precision": 0.2, "recall": 1.0, "f1": 1 / 3}
    )


def test_flagging_from_the_percentile_on_by_hand():
    scores = np.arange(1.0, 11.0)
    anomalous = scores > 7
    # The 80th percentile is 8.2: 9 and 10 are flagged, both anomalous, of three.
    assert detection.flagged_at_percentile(scores, anomalous, 80) == pytest.approx(
        {"precision": 1.0, "recall": 2 / 3, "f1": 0.8}
    )


def brute_average_precision(scores: np.ndarray, anomalous: np.ndarray) -> float:
    total, before = 0.0, 0.0
    for threshold in np.unique(scores)[::-1]:
        flagged = scores >= threshold
        recall = (flagged & anomalous).sum() / anomalous.sum()
        total += (recall - before) * (flagged & anomalous).sum() / flagged.sum()
        before = recall
    return total


def test_areas_against_brute_force():
    scores, anomalous = example(200, 60)
    scores = scores.round(1)  # with ties
    found = detection.areas(scores, anomalous)
    assert found["average_precision"] == pytest.approx(brute_average_precision(scores, anomalous))
    above = scores[anomalous][:, None] - scores[~anomalous]
    assert found["auroc"] == pytest.approx(((above > 0) + (above == 0) / 2).mean())
    points = [(0.0, 1.0)]
    for threshold in np.unique(scores)[::-1]:
        flagged = scores >= threshold
        hits = (flagged & anomalous).sum()
        points.append((hits / anomalous.sum(), hits / flagged.sum()))
    recall, precision = np.array(points).T
    assert found["auprc"] == pytest.approx(np.trapezoid(precision, recall))


@given(st.integers(1, 99), st.floats(-5, 5, allow_subnormal=False), st.floats(0.1, 10))
def test_areas_see_the_ranking_alone(positives: int, shift: float, scale: float):
    scores, anomalous = np.random.default_rng(positives).normal(size=100), np.arange(100) < positives
    moved = detection.areas(scores * scale + shift, anomalous)
    assert moved == pytest.approx(detection.areas(scores, anomalous))


def test_the_ceiling_is_the_f1_of_a_perfect_ranking():
    for positives in (10, 197, 200, 400):
        anomalous = np.arange(1000) < positives
        perfect = detection.flagged_share(anomalous + RANDOM.random(1000) / 2, anomalous, 0.2)["f1"]
        assert detection.ceiling(1000, positives, 0.2) == pytest.approx(perfect)


def test_what_is_drawn_is_the_curve_and_every_example():
    scores, anomalous = example()
    drawn = detection.drawn(scores, anomalous)
    assert sum(drawn["normal"]) == 400 and sum(drawn["anomalous"]) == 100
    assert len(drawn["edges"]) == len(drawn["normal"]) + 1 == 51
    assert drawn["recall"][-1] == 1.0 and len(drawn["recall"]) == len(drawn["precision"]) == 100
    for recall, precision in zip(drawn["recall"], drawn["precision"], strict=True):
        order = np.argsort(-scores)
        hits = anomalous[order].cumsum()
        reached = hits >= recall * 100 - 1e-9
        assert precision == pytest.approx((hits / np.arange(1, 501))[reached].max(), rel=1e-5)


def test_a_constant_score_can_be_drawn():
    drawn = detection.drawn(np.ones(10), np.arange(10) < 3)
    assert (drawn["normal"], drawn["anomalous"]) == ([7], [3])
    assert set(drawn["precision"]) == {0.3}
