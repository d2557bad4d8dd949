"""Results: what is written is read again, and what is no result says why."""

import copy
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebbench.errors import ResultError
from ebbench.record import migrations, resultfiles, schema

RESULTS = Path(__file__).parents[2] / "results"
GOLDEN = Path(__file__).parents[1] / "golden" / "result-v3.json"
SCHEMA = Path(schema.__file__).with_name("result.schema.json")


finite = st.floats(-1e299, 1e299)
text = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cf", "Zl", "Zp"]), max_size=20)
name = text.filter(bool)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | finite | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=10,
)
objects = st.dictionaries(text, json_values, max_size=4)


def test_golden_v1_still_loads():
    whole = resultfiles.read(GOLDEN.with_name("result-v1.json"))
    assert (whole.schema_version, whole.score, whole.parts) == (3, "", [])
    assert whole.training.evaluations.step == []
    assert whole.run_id == "cpu-clean-mala-mnist-s3-0123456789"
    assert whole.metrics == {"modes": 1000.0, "kl": 0.0313}
    assert whole.config["note"] == "Größe ≤ 1"
    assert whole.training.curves.series["penalty"] == [None, 10.0]
    # It was bound to nothing then, so nobody knows what was verified.
    assert whole.verification.tier == "recomputed" and whole.confirmed == "claimed"


def test_golden_v2_has_parts_a_score_and_evaluations():
    whole = resultfiles.read(GOLDEN.with_name("result-v2.json"))
    assert (whole.hash_kind, whole.engine) == ("files", 0)
    assert (whole.task.code_hash, whole.task.data_code_hash) == ("", "")
    assert whole.score == "energy"
    (part,) = whole.parts
    assert (part.name, part.metrics) == ("digit 3", {"modes": 999.0})
    assert part.training.evaluations.series == {"energy.f1": [0.1, 0.9]}


def test_golden_v3_says_what_its_hashes_are_of(whole):
    assert (whole.hash_kind, whole.engine) == ("source", 1)
    assert (whole.task.code_hash, whole.task.data_code_hash) == ("7a5c", "da7a")


@pytest.mark.parametrize(
    ("version", "digest"),
    [
        (1, "50e49438c478b1c5b8560ed3a7c7daeaf5e677d2ccf7bf94b532079d1a188529"),
        (2, "a6934223e6b3fdf51b314c8135e3b6abd6f2b9dcf2b96f7d6e7a2fe4be335e88"),
    ],
)
def test_the_digest_of_an_older_result_stays(version, digest):
    assert resultfiles.read(GOLDEN.with_name(f"result-v{version}.json")).digest() == digest


@pytest.mark.parametrize(
    "change", [{"hash_kind": "files"}, {"engine": 0}, {"engine": 2}, {"seed": 4}, {"metrics": {}}]
)
def test_the_digest_binds_every_field(raw, whole, change):
    assert schema.build({**raw, **change}).digest() != whole.digest()


@pytest.mark.medium
def test_every_committed_result_loads():
    results, problems = resultfiles.load_all(RESULTS)
    assert problems == [] and len(results) > 500


def test_golden_v3_is_canonical(whole, tmp_path):
    resultfiles.write(whole, tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == GOLDEN.read_bytes()


@given(metrics=st.dictionaries(name, finite, max_size=4), details=objects, config=objects, overrides=objects)
def test_what_is_written_is_read(tmp_path_factory, metrics, details, config, overrides):
    base = resultfiles.read(GOLDEN).model_dump()
    parts = {"metrics": metrics, "details": details, "config": config, "overrides": overrides}
    made = schema.build({**base, **parts})
    path = tmp_path_factory.mktemp("round") / "a.json"
    resultfiles.write(made, path)
    assert resultfiles.read(path) == made
    data = path.read_bytes()
    resultfiles.write(resultfiles.read(path), path)
    assert path.read_bytes() == data
    assert data.endswith(b"}\n")
    assert made.details == details


def test_equal_results_are_equal_files(raw, tmp_path):
    def turned(value):
        if isinstance(value, dict):
            return {key: turned(value[key]) for key in reversed(value)}
        return value

    resultfiles.write(schema.build(turned(raw)), tmp_path / "turned.json")
    assert (tmp_path / "turned.json").read_bytes() == GOLDEN.read_bytes()


def test_tuples_become_lists(raw):
    assert schema.build({**raw, "config": {"betas": (0.5, 0.9)}}).config == {"betas": [0.5, 0.9]}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    "place",
    [
        ("metrics", "kl"),
        ("details", "deep"),
        ("config", "width"),
        ("overrides", "width"),
        ("training", "seconds"),
        ("scoring", "samples_per_second"),
    ],
)
def test_numbers_are_finite(raw, place, value):
    outer, inner = place
    raw[outer][inner] = [{"x": value}] if inner == "deep" else value
    with pytest.raises(ResultError, match=outer):
        schema.build(raw)


def test_a_curve_is_finite_and_as_long_as_its_steps(raw):
    curves = raw["training"]["curves"]
    curves["series"]["penalty"] = [1.0]
    with pytest.raises(ResultError, match="penalty has 1 entries, step has 2"):
        schema.build(raw)
    curves["series"]["penalty"] = [1.0, math.nan]
    with pytest.raises(ResultError, match="training.curves.series.penalty"):
        schema.build(raw)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metrics": {"kl": "0.03"}}, r"metrics\.kl.*valid number"),
        ({"metrics": {"kl": True}}, r"metrics\.kl"),
        ({"metrics": {"kl": 10**400}}, r"metrics\.kl"),
        ({"mood": "good"}, r"mood: Extra inputs"),
        ({"seed": 1.5}, "seed"),
        ({"run_id": "../../etc/passwd"}, "run_id"),
        ({"created": "2026-11-21 01:00"}, "created"),
        ({"created": "2026-13-01T00:00:00Z"}, "created"),
        ({"pictures": {"samples": "../other.png"}}, "pictures.samples.*not a plain file name"),
        ({"pictures": {"samples": "C:evil.png"}}, "pictures.samples"),
        ({"details": {"array": object()}}, "array is a object"),
        ({"details": {"x": "\ud800"}}, "details"),
        ({"details": {1: 2}}, "key 1"),
        ({"verification": {"tier": "sworn"}}, r"verification\.tier"),
        ({"training": None}, "training"),
        ({"model": {"name": "n" * 300}}, r"model\.name"),
        ({"model": {"name": "a\u202eb", "code_hash": ""}}, r"model\.name.*U\+202E"),
        ({"model": {"name": "a", "title": "\x1b[2J", "code_hash": ""}}, r"model\.title.*U\+001B"),
        ({"budget": "cpu\n"}, r"budget.*U\+000A"),
        ({"config": {"law": "x\n\\input{y}"}}, r"config.*law.*U\+000A"),
        ({"details": {"a\nb": 1}}, "details.*U\\+000A"),
        ({"details": {"a": ["x" * 20_000]}}, "details.*at most 10,000"),
        ({"metrics": {"k" * 300: 1.0}}, "metrics"),
        ({"metrics": {"kl": 1.7e308}}, r"metrics\.kl"),
        ({"metrics": {"kl": -1e300}}, r"metrics\.kl"),
        ({"config": {"width": 10**301}}, "width is a number of 1e\\+300 or more"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**32}, "seed"),
        ({"run_id": "a" * 201}, "run_id"),
        ({"pictures": {"samples": "\x1b.png"}}, "pictures"),
    ],
)
def test_a_wrong_field_is_named(raw, change, message):
    with pytest.raises(ResultError, match=message):
        schema.build({**raw, **change})


def test_a_missing_field_is_named(raw):
    del raw["training"]["steps"]
    with pytest.raises(ResultError, match=r"training\.steps: Field required"):
        schema.build(raw)


def test_without_verification_a_number_is_claimed(raw):
    assert schema.build({**raw, "verification": None}).confirmed == "claimed"


def test_now_fits_the_schema(raw):
    assert schema.build({**raw, "created": schema.now()})


def changed(raw, path, value):
    raw = copy.deepcopy(raw)
    *parents, last = path.split(".")
    place = raw
    for name in parents:
        place = place[name]
    place[last] = value
    return schema.build(raw)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("task.name", "other"),
        ("task.version", 2),
        ("task.protocol", "published"),
        ("task.source", "digits"),
        ("task.options", {"stacks": 4}),
        ("model.name", "other"),
        ("model.variant", "small"),
        ("overrides", {"width": 25}),
        ("sampler", None),
        ("sampler.name", "generator"),
        ("score", "gradient_norm"),
        ("budget", "paper"),
    ],
)
def test_row_key_keeps_apart(raw, whole, path, value):
    assert changed(raw, path, value).row_key() != whole.row_key()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("task.code_hash", "b"),
        ("engine", 2),
        ("seed", 4),
        ("run_id", "b"),
        ("metrics", {}),
        ("created", "2027-01-01T00:00:00Z"),
        ("details", {}),
    ],
)
def test_row_key_joins(raw, whole, path, value):
    assert changed(raw, path, value).row_key() == whole.row_key()


@pytest.mark.parametrize("version", [4, 99])
def test_a_future_version_names_found_and_expected(raw, version):
    with pytest.raises(ResultError) as error:
        migrations.migrate({**raw, "schema_version": version})
    assert f"schema_version {version}" in str(error.value)
    assert "schema_version 3" in error.value.expected


@pytest.mark.parametrize("version", ["1", None, True, 1.0])
def test_a_version_is_an_integer(raw, version):
    with pytest.raises(ResultError, match="schema_version"):
        migrations.migrate({**raw, "schema_version": version})


def test_a_long_word_for_a_version_is_cut(raw):
    with pytest.raises(ResultError, match="schema_version 'xx") as error:
        migrations.migrate({**raw, "schema_version": "x" * 5000})
    assert len(str(error.value)) < 300


def test_a_version_must_be_there(raw):
    del raw["schema_version"]
    with pytest.raises(ResultError, match="no schema_version"):
        migrations.migrate(raw)


def test_migrations_go_one_version_at_a_time(raw):
    def from_0(old):
        old["run_id"] = old.pop("id")
        return old

    old = {**raw, "schema_version": 0, "id": raw["run_id"]}
    del old["run_id"]
    before = copy.deepcopy(old)
    assert schema.build(migrations.migrate(old, {0: from_0, 1: dict, 2: dict})) == schema.build(raw)
    assert old == before

    table = {0: from_0, 1: lambda r: {**r, "trail": [1]}, 2: lambda r: {**r, "trail": r["trail"] + [2]}}
    new = migrations.migrate(old, table, current=3)
    assert (new["schema_version"], new["trail"]) == (3, [1, 2])


def test_a_version_without_a_way_up_is_an_error(raw):
    with pytest.raises(ResultError, match="schema_version 0.*cannot convert"):
        migrations.migrate({**raw, "schema_version": 0}, {})


def test_the_committed_schema_is_the_code_s():
    made = subprocess.run(
        [sys.executable, "-m", "ebbench.record.schema"],
        capture_output=True,
        check=True,
        text=True,
        encoding="utf-8",
    )
    assert SCHEMA.read_text(encoding="utf-8") == made.stdout
    assert json.loads(made.stdout) == schema.schema()


def test_importing_results_loads_no_torch():
    heavy = {"torch", "numpy", "scipy", "pandas"}
    code = f"import sys, ebbench.record.resultfiles; print({heavy} & set(sys.modules))"
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert made.stdout.strip() == "set()"
