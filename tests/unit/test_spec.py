"""Requests: how values are settled, and what the two hashes depend on."""

from __future__ import annotations

import dataclasses
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebbench.data.store import Store
from ebbench.errors import ContractError, PluginError, UsageError
from ebbench.running import identity, spec
from ebbench.running.request import Request
from ebbench.running.words import parse_seeds, parse_settings, split_variant


def resolve(**words) -> spec.Spec:
    return spec.resolve(Request(**{"task": "dots", "model": "blob", "budget": "smoke", **words}))


def hashes(resolved: spec.Spec, seed: int = 0) -> tuple[str, str]:
    task = resolved.task.cls(resolved.options, resolved.protocol, Store(offline=True))
    found = identity.identify(resolved, task, seed)
    return found.training, found.scoring


def test_values_come_from_defaults_then_budget_then_variant_then_set(plugins):
    assert resolve(budget="cpu").config.steps == 400
    assert resolve().config.steps == 60
    assert resolve(model="blob:still").config.steps == 0
    by = [resolve(sampler="shifted", **words).knobs["by"] for words in ({}, {"budget": "cpu"})]
    assert by == [0.0, 0.125], "a budget may set a sampler's knobs"
    settled = resolve(sampler="shifted", budget="cpu", set={"shifted.by": 0.5})
    assert settled.knobs["by"] == 0.5 and not resolve(sampler="shifted", budget="cpu").overrides
    large = resolve(model="blob:large"), resolve(model="blob:large", budget="cpu")
    assert [(s.config.steps, s.config.lr) for s in large] == [(7, 0.5), (9, 0.5)], "the variant's own budget"
    assert resolve(model="blob:large", set={"steps": 5}).config.steps == 5
    settled = resolve(model="blob:still", set={"steps": 5, "lr": 1, "points": 8})
    assert (settled.config.steps, settled.config.lr, settled.options.points) == (5, 1.0, 8)
    assert settled.overrides == {"steps": 5, "lr": 1.0}
    assert settled.control and not resolve().control


def test_what_each_hash_depends_on(plugins):
    base = hashes(resolve())
    for asked in ({"sampler": "shifted"}, {"protocol": "published"}):
        training, scoring = hashes(resolve(**asked))
        assert training == base[0] and scoring != base[1]
    for asked in ({"set": {"lr": 0.5}}, {"set": {"points": 8}}, {"model": "blob:still"}, {"budget": "cpu"}):
        training, scoring = hashes(resolve(**asked))
        assert training != base[0] and scoring != base[1]
    assert hashes(resolve(), seed=1)[0] != base[0]
    assert hashes(resolve(set={"lr": 0.01})) == base, "a value set to what it is anyway changes nothing"


def test_the_command_gives_the_same_spec_again(plugins):
    settled = resolve(model="blob:still", sampler="shifted", set={"points": 8, "lr": 0.5, "shifted.by": 0.25})
    words = shlex.split(settled.command(3))
    pairs = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
    values = dict(zip(words[2::2], words[3::2], strict=False))
    again = spec.resolve(
        Request(
            task=values["--task"],
            model=values["--model"],
            budget=values["--budget"],
            protocol=values["--protocol"],
            sampler=values["--sampler"],
            set=parse_settings(pairs),
        )
    )
    assert hashes(again) == hashes(settled)


def test_a_list_and_a_blank_survive_the_shell(plugins):
    settled = spec.resolve(
        Request(task="gaussian", model="vae", set={"layers": [256, 128], "covariance": "my own.csv"})
    )
    words = shlex.split(settled.command(0))
    settings = parse_settings([words[i + 1] for i, word in enumerate(words) if word == "--set"])
    assert settings == {"layers": [256, 128], "covariance": "my own.csv"}


def test_a_model_path_may_hold_a_colon(plugins):
    assert split_variant("C:\\models\\mine") == ("C:\\models\\mine", "", "")
    assert split_variant("./mine:small") == ("./mine", ":", "small")


@given(st.lists(st.integers(0, 50), min_size=1, max_size=6))
def test_seeds_are_read_in_order_without_repeats(numbers):
    text = ",".join(map(str, numbers))
    assert parse_seeds(text) == list(dict.fromkeys(numbers))


def test_seed_ranges():
    assert parse_seeds("0-4") == [0, 1, 2, 3, 4]
    assert parse_seeds("7, 2-3,2") == [7, 2, 3]
    for bad in ("", "a", "3-1", "-1", "1-", "0-99999999"):
        with pytest.raises(UsageError):
            parse_seeds(bad)


def test_settings_are_toml_or_bare_words():
    assert parse_settings(["a=1", "b=0.5", "c=true", "d=mnist", 'e="x y"', "f=[1, 2]", "g=1e-3"]) == {
        "a": 1,
        "b": 0.5,
        "c": True,
        "d": "mnist",
        "e": "x y",
        "f": [1, 2],
        "g": 0.001,
    }


def test_a_card_with_a_value_of_the_wrong_type_is_named(plugins):
    card = plugins / "blob" / "card.toml"
    card.write_text(card.read_text().replace("steps = 60", 'steps = "sixty"'))
    with pytest.raises(UsageError, match="'steps' cannot be 'sixty'") as caught:
        resolve()
    assert "card.toml" in caught.value.where


def test_a_knob_that_is_also_an_option_is_refused(plugins):
    model = plugins / "blob" / "model.py"
    model.write_text(model.read_text().replace("lr: float", "points: int = 1\n        lr: float"))
    with pytest.raises(PluginError, match="both an option"):
        resolve(set={"points": 3})


def test_the_run_id_is_a_plain_file_name(plugins):
    settled = resolve(sampler="shifted", set={"points": 8})
    task = settled.task.cls(settled.options, settled.protocol, Store(offline=True))
    name = identity.identify(settled, task, 3).run_id
    assert name.startswith("smoke-clean-shifted-dots-points8-s3-")
    assert dataclasses.asdict(settled.options) == {"points": 8}


def test_a_long_option_does_not_outgrow_a_file_name(plugins):
    task = plugins / "dots" / "task.py"
    text = task.read_text().replace("points: int = 256", 'label: str = ""\n        points: int = 256')
    task.write_text(text)
    names = set()
    for label in ("x" * 300, "x" * 301):
        settled = resolve(set={"label": label})
        made = settled.task.cls(settled.options, settled.protocol, Store(offline=True))
        names.add(identity.identify(settled, made, 0).run_id)
    assert len(names) == 2 and max(map(len, names)) < 150


def test_a_sampler_is_refused_where_nothing_is_drawn(plugins):
    task = plugins / "dots" / "task.py"
    task.write_text(task.read_text().replace('needs = "sample"', 'needs = "energy"'))
    model = plugins / "blob" / "model.py"
    model.write_text(model.read_text() + "\n    def energy(self, x):\n        return x.sum(1)\n")
    assert not resolve().sampler
    with pytest.raises(UsageError, match="does not use samples"):
        resolve(sampler="shifted")
    with pytest.raises(UsageError, match="unknown key 'shifted.by'"):
        resolve(set={"shifted.by": 0.5})


def test_a_task_that_does_not_say_its_protocols_is_named(plugins):
    task = plugins / "dots" / "task.py"
    task.write_text(task.read_text().replace("    protocols =", "    others ="))
    with pytest.raises(ContractError, match="does not define protocols"):
        resolve()


def test_no_time_and_no_thread_is_part_of_an_identity(plugins, monkeypatch):
    card = plugins / "blob" / "card.toml"
    before = hashes(resolve())
    card.write_text(card.read_text().replace("steps = 60", "steps = 60\nminutes = 3"))
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert hashes(resolve()) == before
