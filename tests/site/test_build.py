"""The site's files: whole, escaped, links that lead somewhere, old builds kept until a new one is whole."""

from __future__ import annotations

import functools
import json
import re
import shutil
import time
from pathlib import Path
from urllib.parse import unquote

import pytest
from ebbench.site.build import build

from ebbench.record import resultfiles
from ebbench.record.schema import Result
from pages import COMMITTED, changed, one_of, parsed

ROOT = Path(__file__).resolve().parents[2]


@functools.cache
def ids(page: Path) -> set[str]:
    return set(parsed(page).ids)


def test_every_link_leads_somewhere_and_stays_on_the_site(some: Path, tmp_path: Path):
    assert build(some, tmp_path / "site") == []
    pages = sorted((tmp_path / "site").rglob("*.html"))
    assert {page.name for page in pages} >= {"index.html", "stackedmnist.html", "meg.html", "findings.html"}
    for page in pages:
        links = parsed(page)
        assert len(links.ids) == len(set(links.ids)), f"{page} has an id twice"
        for target in links.targets:
            if target.startswith(("https://", "http://", "data:", "#")):
                # Out of the site only by a link that a reader follows, never by what a page loads.
                continue
            path = (page.parent / unquote(target.partition("#")[0])).resolve()
            assert path.is_file(), f"{page.relative_to(tmp_path)} -> {target}"
            place = target.partition("#")[2]
            # What stands behind # on these two pages is a choice, which their scripts read.
            if place and path.suffix == ".html" and path.name not in ("claims.html", "compare.html"):
                assert unquote(place) in ids(path), f"{page.relative_to(tmp_path)} -> {target}"
        text = page.read_text(encoding="utf-8")
        assert not re.search(r'<(script|link|img)[^>]+(src|href)="https?:', text)
        assert str(ROOT) not in text and str(tmp_path) not in text


def test_the_numbers_are_those_of_the_results(some: Path, tmp_path: Path):
    build(some, tmp_path / "site")
    made = resultfiles.read(one_of("stackedmnist", "meg"))
    page = (tmp_path / "site" / "tasks" / "stackedmnist.html").read_text(encoding="utf-8")
    assert f'data-value="{made.metrics["kl"]}"' in page
    rows = json.loads((tmp_path / "site" / "tasks" / "stackedmnist.json").read_text())
    assert made.run_id in [run for row in rows for run in row["runs"]]
    copied = tmp_path / "site" / "results" / "stackedmnist" / "meg" / f"{made.run_id}.json"
    assert resultfiles.read(copied) == made
    whole = copied.with_suffix(".html").read_text(encoding="utf-8")
    assert made.training.hash in whole and made.provenance.code_hash in whole
    assert "@misc{meg2019," in (tmp_path / "site" / "tasks" / "stackedmnist.bib").read_text()


def test_a_task_is_shown_by_the_metric_that_it_names_first(tmp_path: Path):
    # Of CIFAR-10 there are more models at 5,000 samples than at 50,000, and their metrics have other names.
    first_seed = shutil.ignore_patterns("*-s[!0]-*")
    shutil.copytree(COMMITTED / "cifar10", tmp_path / "results" / "cifar10", ignore=first_seed)
    assert build(tmp_path / "results", tmp_path / "site") == []
    text = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    of_meg, _ = resultfiles.load_all(tmp_path / "results" / "cifar10" / "meg")
    values = {
        name: value
        for one in of_meg
        for name, value in one.metrics.items()
        if one.sampler is not None and one.sampler.name == "generator"
    }
    assert f"{values['fid_cifar']:.2f}" in text
    assert f"{values['fid_cifar_5k']:.2f}" not in text


def test_home_is_light_and_says_what_it_is(some: Path, tmp_path: Path):
    build(some, tmp_path / "site")
    home = tmp_path / "site" / "index.html"
    assert home.stat().st_size + (tmp_path / "site" / "static" / "site.css").stat().st_size < 150_000
    text = home.read_text()
    assert ">MEG</a>" in text and "ebbench run --task" in text


def test_home_with_its_pictures_is_below_200_kb(board: Path):
    loaded = ["index.html", *parsed(board / "index.html").loaded]
    assert {Path(name).suffix for name in loaded} >= {".html", ".css", ".webp", ".svg"}
    assert sum((board / name).stat().st_size for name in loaded) < 200_000


def test_home_draws_a_task_of_data_sets_with_a_falling_line_a_method(board: Path):
    home = (board / "index.html").read_text(encoding="utf-8")
    told = "Average precision on each data set"
    card = next(one for one in home.split("<article") if told in one)
    lines = [
        [float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", d)] for d in re.findall(r' d="(M[^"]+)"', card)
    ]
    falling = [line for line in lines if len(line) > 20]
    assert len(falling) == 5
    # Down the page is up in numbers.
    assert all(line == sorted(line) for line in falling)


@pytest.mark.medium
def test_seconds_on_a_shared_gpu_are_no_timing(some: Path, tmp_path: Path, cli):
    path = some / "gaussian" / "vae" / one_of("gaussian", "vae").name
    raw = json.loads(path.read_text())
    gpu = {"name": "Fast GPU", "driver": None, "cuda": "13", "peak_memory": 1}
    for shared, shown in ((False, ">Fast GPU<"), (True, ">Fast GPU, shared<")):
        for provenance in (raw["provenance"], raw["training"]["provenance"]):
            provenance["gpu"] = gpu | {"shared": shared}
        raw["training"]["seconds"] = 7654.0
        path.write_text(json.dumps(raw))
        assert build(some, tmp_path / "site") == []
        page = (tmp_path / "site" / "tasks" / "gaussian.html").read_text(encoding="utf-8")
        assert shown in page and ("2.1 h" in page) is not shared
        said = cli("show", path)
        assert ("others used too" in said.out) is shared, said.err


def test_rows_of_older_code_are_marked_and_others_are_not(
    some: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def state(self: object, result: Result) -> tuple[str, str]:
        return (
            ("older code", "the model's code has changed") if result.model.name == "vae" else ("current", "")
        )

    monkeypatch.setattr("ebbench.board.currency.Today.state", state)
    assert build(some, tmp_path / "site") == []
    for page, marked in (
        ("tasks/gaussian.html", True),
        ("methods/vae.html", True),
        ("tasks/stackedmnist.html", False),
        ("methods/meg.html", False),
    ):
        text = (tmp_path / "site" / page).read_text()
        assert (">older code</span>" in text) is marked, page
        assert page.startswith("methods") or ("the model&#39;s code has changed" in text) is marked
    assert (tmp_path / "site" / "index.html").read_text().count("†</b>") == 1


@pytest.mark.medium
def test_rows_that_their_scores_alone_part_are_told_apart(some: Path, tmp_path: Path):
    for score in ("energy", "gradient_norm"):
        changed(some, f"by-{score}", model__name="gan", score=score)
    assert build(some, tmp_path / "site") == []
    for page in ("index.html", "tasks/gaussian.html", "methods/gan.html"):
        text = (tmp_path / "site" / page).read_text()
        assert "by energy" in text and "by gradient_norm" in text, page


@pytest.mark.medium
def test_a_result_of_an_invalid_row_says_so_and_its_numbers_lead_to_their_meanings(
    some: Path, tmp_path: Path
):
    source = one_of("stackedmnist", "meg")
    path = some / "stackedmnist" / "meg" / source.name
    page = f"site/results/stackedmnist/meg/{source.stem}.html"
    build(some, tmp_path / "site")
    text = (tmp_path / page).read_text(encoding="utf-8")
    assert "Invalid." not in text
    assert '<a href="../../../tasks/stackedmnist.html#metric-kl">KL divergence</a>' in text
    assert "data mnist, stacks=3, version " in text
    raw = json.loads(path.read_text())
    raw["metrics"]["are_digits"] = 0.0
    path.write_text(json.dumps(raw))
    build(some, tmp_path / "site")
    text = (tmp_path / page).read_text(encoding="utf-8")
    assert "Invalid." in text and "are_digits is below 1 for seed" in text
    control = one_of("stackedmnist", "real-data")
    text = (tmp_path / f"site/results/stackedmnist/real-data/{control.stem}.html").read_text()
    assert "Invalid." not in text, "a control may exceed limits"


def test_no_results_make_a_site_that_says_so(tmp_path: Path):
    (tmp_path / "none").mkdir()
    assert build(tmp_path / "none", tmp_path / "site") == []
    assert "There are no results yet." in (tmp_path / "site" / "index.html").read_text()


@pytest.mark.medium
def test_the_old_site_stays_until_the_new_one_is_whole(
    some: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out = tmp_path / "site"
    build(some, out)
    before = (out / "index.html").read_text(encoding="utf-8")

    def fail(*_: object) -> None:
        raise RuntimeError("in the middle")

    (out / "CNAME").write_text("example.org")
    with monkeypatch.context() as patch:
        patch.setattr("ebbench.site.more_pages.prose", fail)
        with pytest.raises(RuntimeError):
            build(some, out)
    assert (out / "index.html").read_text(encoding="utf-8") == before
    shutil.rmtree(some / "gaussian")
    build(some, out)
    assert not (out / "results" / "gaussian").exists()
    assert (out / "CNAME").read_text() == "example.org", "no build made it"
    assert not list(tmp_path.rglob(".ebbench-site-*")), "nothing is left of either"


def test_what_is_no_place_for_a_site_is_refused_by_the_command(some: Path, tmp_path: Path, cli):
    """Each kind of place is tried in test_place.py."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    before = {path.relative_to(tmp_path) for path in tmp_path.rglob("*")}
    for out in (
        "mine",
        "results",
        "results/site",
        ".",
        ROOT,
        ROOT / "tasks" / "new",
        ROOT / "ebbench" / "new",
    ):
        said = cli("site", "build", "--results", some, "--out", out)
        assert said.code == 2 and "--out" in said.err and "nothing was changed" in said.err, (out, said.err)
    for results in ("nowhere", "mine/thesis.tex"):
        said = cli("site", "build", "--results", results, "--out", "site")
        assert said.code == 2 and "no folder of results" in said.err
    assert {path.relative_to(tmp_path) for path in tmp_path.rglob("*")} == before
    assert not (ROOT / "tasks" / "new").exists()


@pytest.mark.medium
def test_thousands_of_results_take_seconds(tmp_path: Path):
    raw = json.loads(one_of("gaussian", "vae").read_text())
    folder = tmp_path / "results" / "gaussian" / "vae"
    folder.mkdir(parents=True)
    n = 500
    for i in range(n):
        name = f"r{i}"
        made = raw | {"run_id": name, "seed": i % 5, "overrides": {"lr": i // 5}, "pictures": {}}
        (folder / f"{name}.json").write_text(json.dumps(made))
    began = time.process_time()
    build(tmp_path / "results", tmp_path / "site")
    # 5,000 in 20 s on two cores; the fixed part (fonts, plug-ins) is some seconds.
    assert time.process_time() - began < 20
    assert len(list((tmp_path / "site" / "results").rglob("*.html"))) == n


@pytest.mark.medium
def test_a_large_board_is_shared_out_and_no_different(
    some: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (some / "broken.json").write_text("{")
    alone = build(some, tmp_path / "alone")
    monkeypatch.setattr("ebbench.site.build.SHARE", 2)
    shared = build(some, tmp_path / "shared")
    assert alone == shared and [problem.path for problem in shared] == [some / "broken.json"]
    pages = {path.relative_to(tmp_path / "alone") for path in (tmp_path / "alone").rglob("*")}
    assert pages == {path.relative_to(tmp_path / "shared") for path in (tmp_path / "shared").rglob("*")}
    for page in pages:
        if (tmp_path / "alone" / page).is_file():
            assert (tmp_path / "alone" / page).read_bytes() == (tmp_path / "shared" / page).read_bytes()


def test_serving_what_was_not_built(cli, tmp_path: Path):
    said = cli("site", "serve", "--out", tmp_path / "nowhere")
    assert said.code == 2 and "ebbench site build" in said.err
