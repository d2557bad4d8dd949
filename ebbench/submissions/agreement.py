"""Check whether reruns agree with the submitted runs: compare their metrics seed by seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ebbench.board import stats
from ebbench.contract import Limit, Metric
from ebbench.record.schema import Provenance
from ebbench.submissions.checking import TOLERANCE, Check

# With fewer seeds, the spread is too uncertain. An author who may choose seeds can select the best ones.
LEAST_SEEDS = 5

# Below this, in the metric's unit, values are compared by absolute difference.
SMALL = 0.01

# Level of the interval that an audit must fall in. One in a thousand honest metrics falls outside.
AUDIT_LEVEL = 0.999

# All reruns can have the same value by chance, for example a count. An audit may then differ by this share.
AUDIT_CLOSE = 0.01

BySeed = Mapping[int, Mapping[str, float]]


def confirmed(
    claims: BySeed,
    reruns: BySeed,
    metrics: Sequence[Metric],
    limits: Sequence[Limit] = (),
    *,
    exact: bool,
    file: str = "",
) -> list[Check]:
    """Check the claimed metrics of one row against those of the reruns; both are given by seed.

    - The seeds are 0 to n - 1, at least `LEAST_SEEDS` of them, and the same for claims and reruns.
    - The reruns are within the task's limits.
    - For each primary metric, the claimed mean lies in the reruns' prediction interval (95 %, Student's t),
      and so does each value (95 % for all of them together, by Bonferroni). The spread of the claims is not
      used. So claims with a wide spread get no wider interval.
    - With `exact` (the same kind of machine and versions) each value must instead equal its rerun's within
      `TOLERANCE`.

    `file` is the file that the checks name.
    """
    seeds = sorted(claims)
    checks = [unchosen(file, seeds)]
    again = _listed(sorted(reruns))
    checks.append(Check(file, "seeds, run again", again, _listed(seeds), "rerun every claimed seed"))
    if not all(check.good for check in checks):
        return checks
    for seed, found in sorted(reruns.items()):
        for limit in limits:
            if said := limit.broken(found):
                checks.append(Check(file, f"seed {seed}, run again", said, "within the limits of the task"))
    for metric in metrics:
        name = metric.name
        if not metric.primary or not any(name in found for found in (*claims.values(), *reruns.values())):
            continue
        lacking = [s for s in seeds if name not in claims[s] or name not in reruns[s]]
        if lacking:
            where = f"{name}, seed {_listed(lacking)}"
            checks.append(Check(file, where, "not in both", "both in the claim and in the rerun"))
            continue
        checks += _repeated(
            file, name, [claims[s][name] for s in seeds], [reruns[s][name] for s in seeds], exact
        )
    return checks


def audited(
    audit: Mapping[str, float],
    reruns: BySeed,
    metrics: Sequence[Metric],
    limits: Sequence[Limit] = (),
    *,
    file: str = "",
) -> list[Check]:
    """Check one more run of a row against the reruns; its seed is one that the author could not know.

    - The run is within the task's limits.
    - Each primary metric lies in the reruns' prediction interval (99.9 %, Student's t). If the reruns are all
      equal, it may differ by 1 %.

    A model that was built for the seeds of the reruns, or for their splits and draws, fails. `file` is the
    file that the checks name.
    """
    checks = [
        Check(file, "run under a secret seed", said, "within the limits of the task")
        for limit in limits
        if (said := limit.broken(audit))
    ]
    for name in (metric.name for metric in metrics if metric.primary):
        known = [found[name] for found in reruns.values() if name in found]
        if not known and name not in audit:
            continue
        field = f"{name}, under a secret seed"
        if len(known) < len(reruns) or name not in audit:
            checks.append(Check(file, field, "not in all runs", "in each run that was made here"))
            continue
        where = stats.prediction(known, 1, level=AUDIT_LEVEL)
        if min(known) == max(known):
            close = AUDIT_CLOSE * max(SMALL, abs(known[0]))
            where = replace(where, low=known[0] - close, high=known[0] + close)
        cure = "ask the author whether the code depends on the seeds 0 to n - 1"
        checks.append(_inside(file, field, audit[name], where, cure))
    return checks


def same_machine(one: Provenance, other: Provenance) -> bool:
    """Whether two runs with the same seed must give equal numbers: both on the same CPU model and versions.

    On a GPU the order of sums varies. Two runs there need not be equal.
    """
    # Without `platform`: it contains the kernel's build, which changes no number.
    alike = ("python", "device", "packages", "flags")
    return (
        one.device == "cpu"
        and one.cpu.model == other.cpu.model
        and one.cpu.threads == other.cpu.threads
        and all(getattr(one, name) == getattr(other, name) for name in alike)
    )


def unchosen(file: str, seeds: Sequence[int]) -> Check:
    """Whether a row's seeds are 0 to n - 1, and at least `LEAST_SEEDS`."""
    seeds = sorted(seeds)
    good = len(seeds) >= LEAST_SEEDS and seeds == list(range(len(seeds)))
    said = _listed(seeds)
    return Check(
        file,
        "seeds",
        said,
        said if good else f"0 to n - 1, at least {LEAST_SEEDS} of them",
        "run --seeds 0-4 and submit all of them; other seeds can be recomputed, without --rerun",
    )


def _repeated(
    file: str, name: str, claims: Sequence[float], reruns: Sequence[float], exact: bool
) -> list[Check]:
    """Check one metric of a row; claims and reruns are in the order of the seeds from 0."""
    cure = "ask the author for the hardware and versions"
    n = len(claims)
    mean = sum(claims) / n
    checks = [_inside(file, f"{name}, mean", mean, stats.prediction(reruns, n), cure)]
    each = stats.prediction(reruns, 1, level=1 - 0.05 / n)
    for seed, (claim, rerun) in enumerate(zip(claims, reruns, strict=True)):
        field = f"{name}, seed {seed}, run again {rerun:.6g}"
        if exact:
            shown = f"{claim:.8g}"
            same = abs(claim - rerun) <= TOLERANCE * max(SMALL, abs(claim), abs(rerun))
            wanted = shown if same else f"{rerun:.8g}, as on this same kind of machine"
            checks.append(Check(file, field, shown, wanted, cure))
        else:
            checks.append(_inside(file, field, claim, each, cure))
    return checks


def _inside(file: str, field: str, value: float, where: stats.Interval, cure: str) -> Check:
    assert where.low is not None and where.high is not None, "of five seeds at least"
    close = TOLERANCE * max(1.0, abs(value), abs(where.mean))
    shown = f"{value:.6g}"
    inside = where.low - close <= value <= where.high + close
    wanted = f"in [{where.low:.6g}, {where.high:.6g}], where the {where.n} runs here predict it"
    return Check(file, field, shown, shown if inside else wanted, cure)


def _listed(seeds: Sequence[int]) -> str:
    return ",".join(map(str, seeds[:20])) or "none"
