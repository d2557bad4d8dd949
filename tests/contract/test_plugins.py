"""The contract suite on every built-in plug-in, and on broken ones that it must catch."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

import toys
from conftest import DATA
from ebbench.conformance import suite
from ebbench.conformance.shapes import Shapes
from ebbench.contract import DataSpec
from ebbench.plugins import budgets, loader

DOTS = DataSpec(name="dots", shape=(2,), low=0.0, high=1.0)


@pytest.mark.medium
@pytest.mark.parametrize("name", loader.names("model"))
def test_built_in_models(cli, name: str):
    said = cli("test", name)
    assert said.code == 0, said.out
    assert "every check passed" in said.out and "trains on " in said.out


@pytest.mark.parametrize("name", loader.names("model"))
def test_no_variant_turns_a_first_look_into_a_long_training(name: str):
    plugin = loader.load("model", name)
    for variant, task in product(plugin.card.variants, plugin.card.budgets.get("smoke", {})):
        plain, of_variant = (budgets.budget_values(plugin, "smoke", task, v) for v in ("", variant))
        long = {k: v for k, v in of_variant.items() if k.endswith(("steps", "epochs"))}
        assert all(v <= max(plain.get(k, 0), 100) for k, v in long.items()), f"{name}:{variant} on {task}"


@pytest.mark.parametrize("name", loader.names("task"))
def test_built_in_tasks(cli, name: str):
    said = cli("test", name)
    if not DATA.is_dir() and "could not be downloaded" in said.out:
        pytest.skip("needs the task's data: set EBBENCH_DATA or put shared/data beside the checkout")
    assert said.code == 0 and "every check passed" in said.out, said.out


@pytest.mark.medium
@pytest.mark.parametrize("name", ["meg", "wgan-gp"])
def test_the_gans_fit_vectors_of_another_size(name: str):
    # A linear output layer is not held to a range, so they are checked without one.
    vectors = Shapes({"stackedmnist": DataSpec(name="x", shape=(5,))})
    reports = list(suite.check(loader.load("model", name), vectors))
    assert all(report.passed for report in reports), [r for r in reports if not r.passed]


def failures(folder: Path) -> str:
    plugin = loader.load("model", str(folder))
    return "\n".join(
        f"{r.name}: {r.text}" for r in suite.check(plugin, Shapes({"dots": DOTS})) if not r.passed
    )


def test_the_toys_pass_but_for_their_docs(tmp_path: Path):
    assert failures(toys.write_model(tmp_path)) == ""


def test_samplers_are_tried_where_a_task_asks_for_them_and_scores_everywhere(tmp_path: Path):
    able = toys.MODEL + "\n    def energy(self, x):\n        return x.sum(1)\n"
    plugin = loader.load("model", str(toys.write_model(tmp_path, able)))

    def tried(**needs: str) -> list[str]:
        shapes = Shapes({name: DOTS for name in needs}, needs)
        names = [report.name for report in suite.check(plugin, shapes)]
        return [name for name in names if name.startswith(("trains", "sampler", "score "))]

    samplers = ["sampler generator", "sampler shifted"]
    # A task that asks for samples may look at energies too.
    expected = ["trains on a", *samplers, "score energy", "trains on b", "score energy"]
    assert tried(a="sample", b="energy") == expected
    assert tried(b="energy") == ["trains on b", *samplers, "score energy"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        # The optimiser is in a list, out of the state's reach.
        (("self.opt", "self.hidden[0]"), "resumes to the bit"),
        (("return torch.sigmoid(", "return 3 + torch.sigmoid("), "sampler generator"),
        (("by: float = 0.0", "by: float = 0.0, seed=[0]"), "sampler shifted"),
        (('        """Learning rate."""\n', ""), "docstring under Config.lr"),
        (("steps: int = 400", "steps: int"), "Config.steps has no default"),
        (("@dataclass(frozen=True)", "@dataclass"), "frozen"),
        (("nn.ReLU()", "nn.BatchNorm1d(16), nn.ReLU()"), ""),
    ],
)
def test_what_breaks_the_contract_is_found(tmp_path: Path, change, said):
    code = toys.MODEL.replace(*change)
    assert code != toys.MODEL
    if "seed=[0]" in code:
        code = code.replace(
            "return (self.sample(n) + by).clamp(0, 1)",
            "seed[0] += 1; return torch.full((n, 2), 1 / seed[0])",
        )
    if "hidden" in code:
        code = code.replace("self.hidden[0] = torch", "self.hidden = [None]; self.hidden[0] = torch")
    found = failures(toys.write_model(tmp_path, code))
    assert (said in found) if said else not found, found


@pytest.mark.parametrize(
    "energy",
    ["x.sum(1) - x.sum(1).mean()", "x.sum(1) / (len(x) > 1)", "x.sum(1) * (1 if len(x) > 1 else torch.nan)"],
)
def test_a_score_that_looks_at_the_batch_is_found(tmp_path: Path, energy: str):
    body = f"def energy(self, x): return {energy}"
    assert "depends on the others" in failures(toys.write_one_method(tmp_path, body))


def test_a_missing_readme_is_found(tmp_path: Path):
    folder = toys.write_model(tmp_path)
    (folder / "README.md").unlink()
    assert "README" in failures(folder)


def test_a_broken_card_or_import_ends_the_suite(tmp_path: Path, cli):
    folder = toys.write_model(tmp_path, "import nothing_here")
    said = cli("test", str(folder))
    assert said.code in (1, 2) and "nothing_here" in said.out + said.err


def test_a_wrong_folder_of_data_is_the_user_s_mistake(cli, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("EBBENCH_DATA", "/nowhere")
    said = cli("test", "gan")
    assert said.code == 2 and "EBBENCH_DATA /nowhere" in said.err
