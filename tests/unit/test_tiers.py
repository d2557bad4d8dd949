"""Tiers: who confirmed a number, what that is worth, and what no forger can give himself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ebbench.board import names, table
from ebbench.board.names import Names, Standing
from ebbench.board.tiers import tier_of
from ebbench.contract import Limit, Metric
from ebbench.errors import UsageError
from ebbench.record import resultfiles, schema, signing
from ebbench.storage import made

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "result-v3.json").read_text(encoding="utf-8"))
KL = Metric(name="kl", unit="nats", better="lower", doc="", primary=True)
NOBODY = Names()


def result(model: str = "stranger", seed: int = 0, kl: float = 0.5, **changes) -> schema.Result:
    """A result of a model that is no built-in, not verified."""
    raw = GOLDEN | {"seed": seed, "metrics": {"kl": kl}, "verification": None, "run_id": f"{model}-{seed}"}
    raw["model"] = GOLDEN["model"] | {"name": model}
    return schema.build(raw | changes)


def verified(plain: schema.Result, tier: str, key: signing.Key | None = None, **details) -> schema.Result:
    verification = {"tier": tier, "details": {"digest": plain.digest(), **details}}
    whole = schema.build(plain.model_dump(mode="json") | {"verification": verification})
    return whole.signed(key) if key else whole


@pytest.fixture
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[signing.Key]:
    """A maintainer's key."""
    entry = signing.make("ada", tmp_path / "ada.pem")
    (tmp_path / "maintainers.toml").write_text(entry)
    monkeypatch.setenv("EBBENCH_MAINTAINERS", str(tmp_path / "maintainers.toml"))
    found = signing.load(tmp_path / "ada.pem")
    assert found is not None
    yield found


def test_what_is_signed_has_its_tier_and_what_is_not_is_claimed(key: signing.Key):
    plain = result()
    for tier in ("recomputed", "reproduced"):
        assert tier_of(verified(plain, tier, key), NOBODY) == (tier, "")
        forged, why = tier_of(verified(plain, tier), NOBODY)
        assert forged == "claimed" and f"no maintainer signed that it is {tier}" in why


@pytest.mark.parametrize(
    "change",
    [
        {"metrics": {"kl": 0.1}},
        {"seed": 7},
        {"verification.tier": "reproduced"},
        {"verification.details.more": 1},
        {"verification.details.signed_by": "bob"},
        {"verification.details.signature": "AAAA"},
        {"verification.details.signature": 3},
        {"verification.checked": "2026-01-01T00:00:00Z"},
    ],
    ids=str,
)
def test_what_was_changed_after_it_was_signed_is_claimed(key: signing.Key, change: dict):
    raw = verified(result(), "recomputed", key).model_dump(mode="json")
    for path, value in change.items():
        *parents, last = path.split(".")
        place = raw
        for name in parents:
            place = place[name]
        place[last] = value
    # Its own digest is brought up to date: that costs a forger nothing.
    raw["verification"]["details"]["digest"] = schema.build(raw).digest()
    assert tier_of(schema.build(raw), NOBODY)[0] == "claimed"


def test_a_maintainer_who_is_no_longer_one_has_signed_nothing(
    key: signing.Key, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    signed = verified(result(), "reproduced", key)
    assert resultfiles.parse(schema.canonical(signed.model_dump(mode="json")).encode(), where="x") == signed
    monkeypatch.delenv("EBBENCH_MAINTAINERS")
    assert tier_of(signed, NOBODY)[0] == "claimed"
    with pytest.raises(UsageError, match="the key does not belong to a maintainer"):
        signing.load(tmp_path / "ada.pem")


def test_a_key_is_written_once_for_its_owner_alone(tmp_path: Path):
    out = tmp_path / "key.pem"
    signing.make("ada", out)
    before = out.read_bytes()
    assert out.stat().st_mode & 0o077 == 0
    with pytest.raises(UsageError, match="exists already"):
        signing.make("ada", out)
    assert out.read_bytes() == before
    (tmp_path / "no.pem").write_text("no key")
    with pytest.raises(UsageError, match="the key cannot be read"):
        signing.load(tmp_path / "no.pem")


def test_made_here_is_what_this_machine_or_the_project_s_own_model_made():
    own = result()
    assert tier_of(own, NOBODY)[0] == "claimed"
    made.mark(own.digest())
    assert tier_of(own, NOBODY)[0] == "made here"
    assert tier_of(result(kl=0.4), NOBODY)[0] == "claimed"
    assert tier_of(result(model="meg"), NOBODY)[0] == "made here"
    assert tier_of(result(model="meg", budget="external"), NOBODY)[0] == "claimed"


def rows(*results: schema.Result, **more):
    return table.rows(results, "stackedmnist", metrics=(KL,), **more)


def test_only_what_was_made_or_reproduced_here_is_ranked(key: signing.Key):
    ours = result(model="meg", kl=0.5)
    recomputed = verified(result(model="junk", kl=0.0), "recomputed", key)
    reproduced = verified(result(model="other", kl=0.4), "reproduced", key)
    forged = verified(result(model="forged", kl=0.0), "reproduced")
    found = rows(recomputed, ours, result(model="said", kl=0.0), reproduced, forged)
    assert [(row.model, row.rank, row.block) for row in found] == [
        ("other", 1, ""),
        ("meg", 2, ""),
        ("junk", None, "recomputed"),
        ("forged", None, "claimed"),
        ("said", None, "claimed"),
    ]
    assert "no maintainer signed" in found[3].notes[-1]


def test_a_claim_joins_no_row_that_was_confirmed(key: signing.Key):
    confirmed = [verified(result(seed=seed), "reproduced", key) for seed in range(2)]
    found = rows(*confirmed, result(seed=2, kl=0.0))
    assert [(row.tier, row.seeds) for row in found] == [("reproduced", [0, 1]), ("claimed", [2])]
    # Nor does one that gives itself the run id of another.
    found = rows(*confirmed, result(seed=2, kl=0.0, run_id=confirmed[0].run_id))
    assert [(row.tier, row.seeds) for row in found] == [("reproduced", [0, 1]), ("claimed", [2])]


def test_a_row_says_by_which_commit_and_machine_it_was_made():
    (row,) = rows(result(model="meg"), result(model="meg", seed=1))
    trained_on = result().training.provenance or result().provenance
    assert trained_on.git is not None and len(row.commits) == 1 and trained_on.git.commit in row.commits[0]
    assert len(row.machines) == 1


def test_what_lies_beyond_a_limit_has_no_rank_and_says_why():
    limit = Limit(metric="kl", least="floor", slack=0.01, why="no sampler is nearer on average")
    good, bad = (
        result(model="meg", kl=0.5),
        result(model="wgan-gp", kl=0.001, metrics={"kl": 0.001, "floor": 0.02}),
    )
    first, second = rows(good, bad, limits=(limit,))
    assert (first.model, first.rank, second.rank, second.invalid) == ("meg", 1, None, True)
    assert second.notes[-1] == (
        "not ranked: impossible at seed 0: kl is 0.001, below 0.01: no sampler is nearer on average"
    )
    # Real data may well be what no model is.
    raw = result(model="real-data", metrics={"kl": 0.001, "floor": 0.02}).model_dump(mode="json")
    control = schema.build(raw | {"model": raw["model"] | {"kind": "control"}})
    *_, last = rows(good, control, limits=(limit,))
    assert last.kind == "control" and last.notes[-1].startswith(
        "impossible for a model at seed 0: kl is 0.001"
    )


@pytest.mark.parametrize(
    ("limit", "metrics", "broken"),
    [
        (Limit(metric="a", most=1.0, why="w"), {"a": 1.0}, ""),
        (Limit(metric="a", most=1.0, why="w"), {"a": 1.5}, "a is 1.5, above 1: w"),
        (Limit(metric="a", most="b", slack=0.5, why="w"), {"a": 1.5, "b": 1.0}, ""),
        (Limit(metric="a", most="b", slack=0.5, why="w"), {"a": 1.6, "b": 1.0}, "a is 1.6, above 1.5: w"),
        (Limit(metric="a", least=0.0, why="w"), {"a": -1e-9}, "a is -1e-09, below 0: w"),
        (Limit(metric="a", least=0.0, why="w"), {"a": float("nan")}, "a is nan, below 0: w"),
        (Limit(metric="a", least="b", why="w"), {"a": -1.0}, ""),
        (Limit(metric="a", least=0.0, why="w"), {"b": -1.0}, ""),
    ],
)
def test_a_limit_holds_where_its_metrics_are(limit: Limit, metrics: dict[str, float], broken: str):
    assert limit.broken(metrics) == broken


def test_a_name_that_is_disputed_has_no_rank(tmp_path: Path):
    (tmp_path / "names.toml").write_text(
        '[meg]\nstatus = "disputed"\nnote = "two claim it"\n[gone]\nstatus = "withdrawn"\n'
    )
    decided = names.read(tmp_path)
    (row,) = rows(result(model="meg"), names=decided)
    assert row.rank is None and row.block == "claimed" and "disputed: two claim it" in row.notes[-1]
    assert decided.withdrawn("gone") and not decided.withdrawn("meg")
    assert names.read(tmp_path / "nowhere") == Names()
    for wrong in ("[meg]\nstatus = 'stolen'\n", "[meg\n", "[meg]\nstatus = 'held'\nbundles = ['x']\n"):
        (tmp_path / "names.toml").write_text(wrong)
        with pytest.raises(UsageError, match="the decisions about names cannot be read"):
            names.read(tmp_path)


def test_a_name_that_is_held_is_its_owner_s_alone(key: signing.Key):
    mine, thine = ("a" * 64, "b" * 64)
    decided = Names({"stranger": Standing(status="held", owner="Ada", bundles=(mine,))})
    good = verified(result(), "reproduced", key, bundle=mine)
    thief = verified(result(seed=1, kl=0.0), "reproduced", key, bundle=thine)
    assert tier_of(good, decided)[0] == "reproduced"
    assert tier_of(thief, decided) == ("claimed", "the name belongs to another author (Ada)")


def test_two_files_of_one_run_are_told_and_its_own_place_counts(tmp_path: Path):
    one = result(model="meg")
    place = tmp_path / one.task.name / "meg" / f"{one.run_id}.json"
    resultfiles.write(one, place)
    resultfiles.write(result(model="meg", kl=0.0), tmp_path / "aaa" / "x.json")
    found, problems = resultfiles.load_all(tmp_path)
    assert found == [one] and [problem.path.name for problem in problems] == ["x.json"]
    assert "the same run is in" in problems[0].reason
