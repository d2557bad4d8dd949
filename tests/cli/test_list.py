"""`ebbench list`: what is here, and what does not load, with its reason."""

import json

import pytest

import toys


def test_list_says_which_model_can_do_which_task(cli, plugins):
    toys.write_one_method(plugins, "def energy(self, x):\n    return x.sum(1)", name="scorer")
    said = cli("list", "--json")
    found = json.loads(said.out)
    models = {model["name"]: model for model in found["models"]}
    (task,) = (task for task in found["tasks"] if task["name"] == "dots")
    assert said.code == 0
    assert (task["needs"], task["version"], task["protocols"]) == ("sample", 1, ["clean", "published"])
    assert "dots" in models["blob"]["tasks"]
    assert sorted(models["blob"]["samplers"]) == ["generator", "shifted"]
    assert models["blob"]["variants"] == ["still", "large"]
    assert "dots" not in models["scorer"]["tasks"]
    assert models["scorer"]["capabilities"] == ["energy"]


def test_what_does_not_load_is_listed_with_its_error(cli, plugins):
    toys.write_model(plugins, "import nothing_of_this_name\n", name="broken")
    toys.write_model(plugins, name="carded", card="name = 3\n")
    toys.write_task(plugins, "from ebbench import Task\n\n\nclass Half(Task):\n    pass\n", name="half")
    said = cli("list", "--json")
    found = json.loads(said.out)
    models = {model["name"]: model for model in found["models"]}
    tasks = {task["name"]: task for task in found["tasks"]}
    assert said.code == 0
    assert "nothing_of_this_name" in models["broken"]["error"]
    assert models["broken"]["title"] == "broken"
    assert "card" in models["carded"]["error"]
    assert "version" in tasks["half"]["error"]
    assert models["blob"]["error"] is None
    shown = cli("list").out
    assert "broken cannot be loaded" in shown
    assert "nothing_of_this_name" in shown


def test_the_built_ins_load(cli):
    found = json.loads(cli("list", "--json").out)
    assert [
        (entry["name"], entry["error"]) for part in found.values() for entry in part if entry["error"]
    ] == []


@pytest.mark.medium
def test_the_matrix_says_what_was_scored(cli, plugins):
    toys.write_one_method(plugins, "def energy(self, x):\n    return x.sum(1)", name="scorer")
    run = ["run", "--task", "dots", "--model", "blob", "--results", "made", "--quiet"]
    assert cli(*run, "--budget", "smoke", "--seeds", "0-2").code == 0
    said = cli("list", "--matrix", "--results", "made", "--json")
    rows = {row["name"]: row for row in json.loads(said.out)}
    assert rows["blob"]["dots"] == "smoke 3"
    assert rows["scorer"]["dots"] == "not applicable"
    assert rows["meg"]["dots"] == "not run yet"
    # A control whose card names its tasks is for those; one that names none, for all that it can do.
    assert rows["exact-density"]["stackedmnist"] == rows["blurred-data"]["toy2d"] == "not applicable"
    assert rows["real-data"]["toy2d"] == rows["exact-density"]["gaussian"] == "not run yet"
    shown = cli("list", "--matrix", "--results", "made").out
    assert "smoke 3" in shown and "not run yet" in shown


def test_a_model_goes_by_the_name_of_its_card(cli, plugins):
    toys.write_model(plugins, name="folder", card='name = "carded"\ntitle = "x"\n')
    toys.write_model(plugins, name="meg")
    models = {model["name"]: model for model in json.loads(cli("list", "--json").out)["models"]}
    assert models["carded"]["error"] is None and "folder" not in models
    assert "in 2 places" in models["meg"]["error"]


def test_a_path_variable_that_cannot_be_is_named(cli, monkeypatch):
    monkeypatch.setenv("EBBENCH_PATH", "~nobody-here")
    said = cli("list")
    assert said.code == 2 and "EBBENCH_PATH" in said.err
