"""The Python API: what a notebook calls."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch
from scipy import stats

import ebbench
import toys
from ebbench import api, asked
from ebbench.asked import prepared
from ebbench.board import frame as frame_of
from ebbench.record import resultfiles

RUN = {"task": "dots", "model": "blob", "budget": "smoke"}


@pytest.fixture(autouse=True)
def here(plugins: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_run_gives_its_results_in_the_order_of_the_seeds():
    made = ebbench.run(**RUN, seeds=[2, 0])
    assert [result.seed for result in made] == [2, 0]
    for result in made:
        assert isinstance(result, ebbench.Result)
        assert resultfiles.read(f"results/dots/blob/{result.run_id}.json") == result
    again = list(api.runs(**RUN, seeds="0-2"))
    assert [(o.result.seed, o.existed) for o in again] == [(0, True), (1, False), (2, True)]
    assert again[2].result == made[0]


@pytest.mark.parametrize("seeds", [3, "3", [3], ("3", 3), np.arange(3, 4), range(3, 4)])
def test_seeds_come_in_every_form(seeds):
    assert [result.seed for result in ebbench.run(**RUN, seeds=seeds)] == [3]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"seeds": []}, "no seeds"),
        ({"seeds": -1}, "cannot read the seeds"),
        ({"seeds": True}, "cannot read the seeds"),
        ({"seeds": None}, "seeds cannot be None"),
        ({"seeds": 1.0}, "seeds cannot be 1.0"),
        ({"seeds": [0.5]}, "cannot read the seeds"),
        ({"budget": "smok"}, "smok"),
        ({"budget": None}, "budget cannot be None"),
        ({"protocol": 5}, "protocol cannot be 5"),
        ({"task": None}, "task cannot be None"),
        ({"model": 5}, "model cannot be 5"),
        ({"settings": ["steps"]}, "settings cannot be"),
        ({"threads": 1.5}, "threads cannot be 1.5"),
        ({"threads": True}, "threads cannot be True"),
        ({"device": 5}, "device cannot be 5"),
        ({"results": None}, "results cannot be None"),
        ({"budget": "paper"}, "--set steps="),
        ({"settings": {"step": 3}}, "unknown key 'step'"),
        ({"settings": {3: 5}}, "3 is not a key"),
        ({"settings": {"steps": "three"}}, "steps"),
        ({"settings": {"lr": float("nan")}}, "lr"),
        ({"time_limit": 0}, "not a duration"),
        ({"time_limit": "soon"}, "not a duration"),
        ({"threads": -1}, "-1 threads"),
        ({"device": "cuda:77"}, "cannot be used"),
        ({"data_dir": "nowhere"}, "nowhere"),
        ({"model": "blop"}, "did you mean|unknown model"),
        ({"results": "~nobody-here/results"}, "impossible path"),
    ],
)
def test_a_mistake_is_said_at_once(wrong, said: str):
    with pytest.raises(ebbench.EbbenchError, match=said):
        api.runs(**RUN | wrong)
    assert not Path("results").exists()


@pytest.mark.parametrize(
    ("read", "said"),
    [
        (lambda: ebbench.table("dots", results=5), "results cannot be 5"),
        (lambda: ebbench.table("dots", results=["results", 5]), "results cannot be 5"),
        (lambda: ebbench.table(None), "task cannot be None"),
        (lambda: ebbench.table("dots", budget=3), "budget cannot be 3"),
        (lambda: ebbench.compare("dots", "blob", "blob"), "cannot be compared with itself"),
        (lambda: ebbench.compare("dots", "blob", "other"), "no results of blob and of other"),
        (lambda: ebbench.compare("dots", "blob", 5), "b cannot be 5"),
        (lambda: ebbench.compare("dotz", "blob", "other"), "did you mean 'dots'"),
        (lambda: ebbench.results(5), "results cannot be 5"),
        (lambda: ebbench.results(task="dotz"), "did you mean 'dots'"),
        (lambda: ebbench.results(model="blob2"), "did you mean 'blob'"),
        (lambda: ebbench.trained(5), "cannot take 5"),
        (lambda: ebbench.evaluate("dots", options=5), "options cannot be 5"),
    ],
)
def test_a_mistake_in_reading_is_no_traceback(read, said: str):
    Path("results").mkdir()
    with pytest.raises(ebbench.UsageError, match=said):
        read()


def test_settings_of_one_s_own_do_where_the_card_has_no_budget():
    """A task of one's own is in no card of the project's models."""
    (made,) = ebbench.run(**RUN | {"budget": "paper"}, settings={"steps": 3})
    assert made.config == {"steps": 3, "lr": 1e-2, "pause": 0.0} and made.budget == "paper"


def test_a_folder_of_one_s_own_and_settings(tmp_path: Path):
    mine = toys.write_model(tmp_path / "elsewhere", name="mine")
    (result,) = ebbench.run("dots", mine, budget="smoke", settings={"steps": 5, "points": 32})
    assert result.model.name == "mine" and result.training.steps == 5
    assert result.overrides == {"steps": 5} and result.task.options == {"points": 32}


def test_progress_is_shown_where_it_is_asked_for(capsys):
    ebbench.run(**RUN)
    assert capsys.readouterr() == ("", "")
    ebbench.run(**RUN, seeds=1, quiet=False)
    said = capsys.readouterr()
    assert said.out == "" and "training blob" in said.err


def test_a_time_limit_stops_and_the_same_call_goes_on():
    slow = RUN | {"settings": {"pause": 0.02}}
    with pytest.raises(ebbench.Stopped) as stopped:
        ebbench.run(**slow, time_limit=0.3)
    assert stopped.value.exit_code == 124
    assert not list(Path("results").rglob("*.json"))
    (result,) = ebbench.run(**slow)
    assert result.training.steps == 60


def test_results_are_read_and_chosen(plugins: Path):
    made = ebbench.run(**RUN, seeds="0-1")
    (still,) = ebbench.run("dots", "blob:still", budget="smoke", results="others")
    assert ebbench.results() == sorted(made, key=lambda result: result.run_id)
    assert ebbench.results(["results", "others"]) == [*ebbench.results(), still]
    assert ebbench.results(["results", Path("results").absolute()]) == ebbench.results()
    assert ebbench.results("others", model="blob") == ebbench.results("others", model="blob:still") == [still]
    assert ebbench.results(model="blob:still") == ebbench.results(task="toy2d") == []


def test_a_file_that_is_no_result_is_named_in_a_warning():
    made = ebbench.run(**RUN)
    Path("results/odd.json").write_text("{}")
    with pytest.warns(UserWarning, match=r"left out: .*odd\.json"):
        assert ebbench.results() == made
    with pytest.warns(UserWarning, match=r"left out: .*odd\.json"):
        assert len(ebbench.table("dots")) == 1


@pytest.mark.parametrize("read", [ebbench.results, lambda folder: ebbench.table("dots", results=folder)])
def test_a_folder_that_is_not_there_is_said(read):
    with pytest.raises(ebbench.UsageError, match="no folder 'result'"):
        read("result")


def test_the_table_is_a_frame_with_a_row_a_row():
    made = ebbench.run(**RUN, seeds="0-2")
    made += ebbench.run(**RUN, sampler="shifted", seeds="0-2")
    made += ebbench.run("dots", "blob:still", budget="smoke")
    frame = ebbench.table("dots")
    assert list(frame.columns) == [*frame_of._COLUMNS, "error", "error_low", "error_high"] + [
        "spread",
        "spread_low",
        "spread_high",
    ]
    assert list(frame["kind"]) == ["model", "model", "control"]
    assert list(frame["variant"]) == ["", "", "still"]
    assert set(frame["sampler"]) == {"generator", "shifted"}
    assert list(frame["seeds"]) == [[0, 1, 2], [0, 1, 2], [0]]
    assert frame["rank"].isna().tolist() == [False, False, True]
    row = frame[(frame["sampler"] == "generator") & (frame["kind"] == "model")].iloc[0]
    values = [result.metrics["error"] for result in made[:3]]
    assert row["error"] == pytest.approx(np.mean(values))
    assert row["error_low"] < row["error"] < row["error_high"]
    assert pandas.isna(frame.iloc[2]["error_low"]), "one seed says nothing of the spread"
    pandas.testing.assert_frame_equal(ebbench.table("dots", results=made), frame)
    board = json.loads(_cli_json())
    assert [row["metrics"]["error"]["mean"] for row in board] == frame["error"].tolist()


def test_a_comparison_is_a_frame_with_a_paired_t_test():
    plain = ebbench.run(**RUN, seeds="0-3")
    shifted = ebbench.run(**RUN, sampler="shifted", seeds="0-3")
    frame = ebbench.compare("dots", "blob@generator", "blob@shifted", results=plain + shifted)
    assert list(frame["metric"]) == ["error"], "the primary one"
    line = frame.iloc[0]
    ours, theirs = ([result.metrics["error"] for result in made] for made in (plain, shifted))
    expected = stats.ttest_rel(ours, theirs)
    assert line["p"] == pytest.approx(expected.pvalue)
    assert (line["low"], line["high"]) == pytest.approx(tuple(expected.confidence_interval()))
    assert line["difference"] == pytest.approx(np.mean(ours) - np.mean(theirs))
    assert line["seeds"] == [0, 1, 2, 3]
    every = ebbench.compare("dots", "blob@shifted", "blob@generator", all_metrics=True)
    assert list(every["metric"]) == ["error", "spread"]
    assert every["difference"][0] == pytest.approx(-line["difference"])


def _cli_json() -> str:
    from ebbench.board import export
    from ebbench.board.names import Names

    return export.as_json(api.select(_task(), ebbench.results(), names=Names()), _task().cls.metrics)


def _task():
    from ebbench.plugins import loader

    return loader.load("task", "dots")


def test_a_table_of_one_budget_and_protocol():
    made = ebbench.run(**RUN)
    ebbench.run(**RUN, protocol="published")
    assert len(ebbench.table("dots")) == 2
    assert list(ebbench.table("dots", protocol="clean")["protocol"]) == ["clean"]
    empty = ebbench.table("dots", budget="cpu")
    assert len(empty) == 0 and {"rank", "error_low"} <= set(empty.columns)
    assert len(ebbench.table("dots", results=[])) == 0
    for wrong in ({"budget": "cpus"}, {"protocol": "cleen"}):
        with pytest.raises(ebbench.UsageError, match="unknown"):
            ebbench.table("dots", results=made, **wrong)


def test_a_trained_model_is_the_one_that_was_scored():
    (result,) = ebbench.run(**RUN)
    model = ebbench.trained(result)
    assert not any(module.training for module in model.net.modules()), "in eval mode"
    assert isinstance(model, ebbench.Model)
    torch.manual_seed(5)
    first = model.sample(7)
    assert first.shape == (7, 2)
    file = Path("results/dots/blob") / f"{result.run_id}.json"
    for other in (
        ebbench.trained(task="dots", model="blob", budget="smoke"),
        ebbench.trained(str(file)),
        ebbench.trained(file, device="cpu"),
        ebbench.trained(result, task="./plugins/dots", model="./plugins/blob"),
    ):
        torch.manual_seed(5)
        assert torch.equal(other.sample(7), first)
    # Neither is made by looking at it.
    assert resultfiles.read(file) == result


def test_a_training_that_is_not_there_is_said_with_the_command_that_makes_it(tmp_path: Path):
    with pytest.raises(ebbench.UsageError) as raised:
        ebbench.trained(task="dots", model="blob", seed=3, budget="smoke")
    assert "ebbench run --task dots --model blob --budget smoke" in raised.value.fix
    assert "--seeds 3" in raised.value.fix
    assert not (tmp_path / "home" / "runs").exists() and not Path("results").exists()


def test_a_result_of_other_code_has_no_trained_model(plugins: Path):
    (result,) = ebbench.run(**RUN)
    model = plugins / "blob" / "model.py"
    model.write_text(model.read_text().replace("0.1 * torch.rand(())", "0.2 * torch.rand(())"))
    with pytest.raises(ebbench.UsageError, match="no longer the one of the result"):
        ebbench.trained(result)


@pytest.mark.parametrize("more", [{"seed": 0}, {"budget": "smoke"}, {"settings": {"steps": 3}}])
def test_a_result_says_the_rest_itself(more):
    (result,) = ebbench.run(**RUN)
    with pytest.raises(ebbench.UsageError, match="takes seed, budget, protocol and settings from the result"):
        ebbench.trained(result, **more)


def test_neither_a_result_nor_a_model_is_too_little():
    with pytest.raises(ebbench.UsageError, match="needs a result, or a task and a model"):
        ebbench.trained(task="dots")


def test_a_model_without_a_state_is_trained_on_the_spot(tmp_path: Path):
    body = """
keeps_state = False

def train(self, data, run):
    self.centre = data[torch.arange(len(data))].mean(0)

def sample(self, n):
    return self.centre.expand(n, 2)
"""
    folder = toys.write_one_method(tmp_path / "own", body, "centre")
    model = ebbench.trained(task="dots", model=folder, budget="smoke")
    assert model.sample(3).shape == (3, 2)


def test_a_part_is_chosen_by_its_name(plugins: Path):
    more = """
    def parts(self, seed):
        return {f"{n} points": DotsTask(self.Options(n), self.protocol, self.store) for n in (64, 65)}

    def combine(self, scores):
        return scores["64 points"]
"""
    (plugins / "dots" / "task.py").write_text(toys.TASK + more)
    (result,) = ebbench.run(**RUN)
    states = [ebbench.trained(result, part=part.name).net[0].weight for part in result.parts]
    assert not torch.equal(*states)
    with pytest.raises(ebbench.UsageError, match="unknown part ''"):
        ebbench.trained(result)


def test_a_base_comes_with_it(plugins: Path, tmp_path: Path):
    code = """
        from dataclasses import dataclass
        import torch
        from ebbench import Model


        class Over(Model):
            builds_on = "base_model"

            @dataclass(frozen=True)
            class Config:
                base_model: str = "blob"

            def sample(self, n):
                return 1 - self.base.sample(n)
    """
    card = 'name = "over"\ntitle = "Over"\n\n[budgets.smoke.default]\n'
    toys.write_model(plugins, code, "over", card)
    (result,) = ebbench.run("dots", "over", budget="smoke")
    model, base = ebbench.trained(result), ebbench.trained(task="dots", model="blob", budget="smoke")
    assert not model.base.net.training
    torch.manual_seed(1)
    samples = model.sample(4)
    torch.manual_seed(1)
    assert torch.equal(samples, 1 - base.sample(4))


def test_what_a_plug_in_does_to_the_folder_moves_no_result(plugins: Path, tmp_path: Path):
    model = plugins / "blob" / "model.py"
    model.write_text(model.read_text().replace("self.opt =", "__import__('os').chdir('/'); self.opt ="))
    ebbench.run(**RUN)
    assert len(ebbench.results(tmp_path / "results")) == 1
    assert Path.cwd() == tmp_path


def test_every_public_function_says_what_it_takes_and_is_typed():
    for name in ("run", "results", "table", "trained", "evaluate"):
        function = getattr(ebbench, name)
        signature = inspect.signature(function)
        assert signature.return_annotation is not inspect.Signature.empty, name
        for parameter in signature.parameters.values():
            assert parameter.annotation is not inspect.Parameter.empty, (name, parameter)
            assert f"`{parameter.name}`" in function.__doc__, (name, parameter.name)


def test_a_run_and_its_command_take_the_same():
    run, asked = (inspect.signature(function).parameters for function in (api.run, prepared))
    assert {name: one.default for name, one in run.items()} == {
        name: one.default for name, one in asked.items() if name != "wait"
    }


def test_names_are_at_hand_without_anything_heavy():
    code = """
import sys
import ebbench
ebbench.run, ebbench.results, ebbench.table, ebbench.trained
ebbench.JsonLines("logs"), ebbench.results("results")
print([m for m in ("torch", "pandas", "scipy", "sklearn", "matplotlib") if m in sys.modules])
"""
    Path("results").mkdir()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_reading_warns_of_nothing_where_all_is_well():
    ebbench.run(**RUN)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ebbench.results()


@pytest.mark.parametrize("seeds", [np.int64(3), torch.tensor(3), "3", [np.int64(3)], np.array([3])])
def test_a_whole_number_of_any_kind_is_a_seed(seeds):
    assert asked.seed_texts(seeds) == ["3"]


@pytest.mark.parametrize("seed", ["0-1", [], 0.0, ""])
def test_trained_takes_one_seed(plugins: Path, seed):
    with pytest.raises(ebbench.EbbenchError, match="seed"):
        ebbench.trained(task="dots", model="blob", seed=seed, budget="smoke")
