"""Claims beside reruns: what agrees, and what a cheat gains nothing by."""

from __future__ import annotations

import numpy as np
import pytest

from ebbench import Limit, Metric
from ebbench.submissions.agreement import audited, confirmed

ERROR = Metric(name="error", unit="", better="lower", doc="Distance.", primary=True)
SPREAD = Metric(name="spread", unit="", better="neither", doc="Spread.")


def by_seed(values, name: str = "error") -> dict[int, dict[str, float]]:
    return {seed: {name: float(value)} for seed, value in enumerate(values)}


def bad(claims, reruns, metrics=(ERROR,), limits=(), exact: bool = False) -> list[str]:
    return [str(c) for c in confirmed(claims, reruns, metrics, limits, exact=exact) if not c.good]


RERUNS = by_seed([0.130, 0.135, 0.140, 0.133, 0.137])


def test_the_same_numbers_agree():
    assert bad(RERUNS, RERUNS, exact=True) == []
    assert bad(RERUNS, RERUNS) == []


def test_a_wide_spread_is_no_licence():
    # The attack: arrays that are better by far, spread so widely that their own interval holds the reruns.
    claims = by_seed([0.018, 0.9, 0.001, 0.02, 0.03])
    assert any("error, mean" in said for said in bad(claims, RERUNS))
    claims = by_seed([0.13, 0.14, 0.135, 0.001, 0.269])  # the mean is right
    assert [said for said in bad(claims, RERUNS) if "seed 3" in said and "0.133" in said]
    # The reruns' spread is the code's own and decides; the claims may lie anywhere in it.
    assert bad(by_seed([0.131, 0.139, 0.134, 0.136, 0.13]), RERUNS) == []


def test_honest_claims_from_another_machine_pass():
    """The same law for both, as for an author with other hardware: hardly one row in ten is refused."""
    rng = np.random.default_rng(0)
    refused = sum(
        bool(bad(by_seed(rng.normal(1, 0.1, 5)), by_seed(rng.normal(1, 0.1, 5)))) for _ in range(400)
    )
    assert refused < 0.12 * 400
    # A mean that is better by three of the reruns' standard deviations is not.
    refused = sum(
        bool(bad(by_seed(rng.normal(0.7, 0.1, 5)), by_seed(rng.normal(1, 0.1, 5)))) for _ in range(100)
    )
    assert refused > 90


def test_the_same_machine_gives_the_same_numbers():
    near = by_seed([0.13001, 0.13501, 0.14001, 0.13301, 0.13701])
    assert bad(near, RERUNS) == [] and bad(near, RERUNS, exact=True) == []  # within 1e-4 of each
    far = by_seed([0.1301, 0.1351, 0.1401, 0.1331, 0.1371])
    assert bad(far, RERUNS) == [] and len(bad(far, RERUNS, exact=True)) == 5


@pytest.mark.parametrize("seeds", [[0, 1, 2, 3], [1, 2, 3, 4, 5], [0, 1, 2, 3, 9], []])
def test_seeds_that_were_chosen_or_are_few_confirm_nothing(seeds: list[int]):
    values = {seed: {"error": 0.1} for seed in seeds}
    assert len(bad(values, values)) == 1


def test_a_seed_that_was_not_run_again_is_named():
    assert any("run again" in said for said in bad(RERUNS, {k: RERUNS[k] for k in (0, 1, 2, 3)}))


def test_metrics_that_decide_nothing_are_not_compared():
    claims = {seed: {"error": 0.1, "spread": 0.1 * seed} for seed in range(5)}
    reruns = {seed: {"error": 0.1, "spread": 9.0} for seed in range(5)}
    assert bad(claims, reruns, (ERROR, SPREAD)) == []


def test_a_metric_that_one_side_lacks_is_named():
    other = by_seed([1] * 5, "other")
    assert [said for said in bad(RERUNS, other) if "not in both" in said]


def test_a_rerun_beyond_a_limit_is_refused():
    limit = Limit(metric="error", least=0.134, why="real data have as much")
    said = bad(RERUNS, RERUNS, limits=(limit,))
    assert len(said) == 2 and all("real data have as much" in one for one in said)


def test_values_that_do_not_spread_must_be_met():
    same = by_seed([1000.0] * 5)
    assert bad(same, same) == []
    assert bad(by_seed([1000.0] * 4 + [990.0]), same)


def beyond(audit: dict[str, float], reruns=RERUNS, metrics=(ERROR,), limits=()) -> list[str]:
    return [str(c) for c in audited(audit, reruns, metrics, limits) if not c.good]


def test_an_audit_lies_where_the_reruns_predict_it():
    assert beyond({"error": 0.136}) == []
    # Perfect under the seeds that everybody knows, and not under another.
    known = by_seed([0.011, 0.010, 0.012, 0.009, 0.010])
    (said,) = beyond({"error": 0.135}, known)
    assert "under a secret seed is 0.135" in said and "5 runs here predict it" in said
    # What is better by as much is no more like the runs.
    assert beyond({"error": 0.01})
    # Student's t with 4 degrees of freedom: 8.61 is its 99.95th percentile (any table).
    values = np.array([found["error"] for found in RERUNS.values()])
    reach = 8.610 * values.std(ddof=1) * np.sqrt(1 + 1 / 5)
    assert beyond({"error": values.mean() + 0.99 * reach}) == []
    assert beyond({"error": values.mean() - 1.03 * reach})


def test_an_honest_audit_passes_but_for_one_in_a_thousand():
    rng = np.random.default_rng(1)
    drawn = rng.normal(1, 0.1, (4000, 6))
    refused = sum(bool(beyond({"error": float(row[5])}, by_seed(row[:5]))) for row in drawn)
    # 4 are to be expected, and 13 or more with a chance below 1e-3 (Poisson).
    assert refused < 13


def test_counts_that_are_equal_by_chance_predict_their_neighbours():
    same = by_seed([1000.0] * 5)
    assert beyond({"error": 1000.0}, same) == [] and beyond({"error": 999.0}, same) == []
    assert beyond({"error": 900.0}, same)


def test_an_audit_has_the_primary_metrics_and_keeps_the_limits():
    (said,) = beyond({"spread": 0.1}, metrics=(ERROR, SPREAD))
    assert "error" in said and "not in all runs" in said
    limit = Limit(metric="error", least=0.134, why="real data have as much")
    (said,) = beyond({"error": 0.133}, limits=(limit,))
    assert "real data have as much" in said
    # A metric that no run has is none of this row's.
    other = Metric(name="other", unit="", better="lower", doc="Another.", primary=True)
    assert beyond({"error": 0.136}, metrics=(ERROR, other)) == []
