"""The site's files: whole, escaped, links that lead somewhere, old builds kept until a new one is whole."""

from __future__ import annotations

import json
import re
import shutil
import time
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from ebbench.site import views
from ebbench.site.build import build

from ebbench.record import resultfiles
from ebbench.record.schema import Result

ROOT = Path(__file__).resolve().parents[2]
COMMITTED = ROOT / "results"


class Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        # What a browser gets for the page itself.
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        found = dict(attrs)
        if tag in ("img", "script") or (tag == "link" and found.get("rel") in ("stylesheet", "icon")):
            self.loaded += [found.get("src") or found.get("href") or ""]
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.targets.append(value)
            if name == "id" and value:
                self.ids.append(value)


def parsed(path: Path) -> Links:
    links = Links()
    links.feed(path.read_text(encoding="utf-8"))
    return links


def one_of(task: str, model: str) -> Path:
    return sorted((COMMITTED / task / model).glob("*.json"))[0]


@pytest.fixture
def some(tmp_path: Path) -> Path:
    """A few committed results in a folder of their own."""
    for task, model in (("stackedmnist", "meg"), ("stackedmnist", "real-data"), ("gaussian", "vae")):
        source = one_of(task, model)
        for path in source.parent.glob(f"{source.stem}*"):
            target = tmp_path / "results" / task / model / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    return tmp_path / "results"


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


def test_home_with_its_pictures_is_below_200_kb(tmp_path: Path):
    build(COMMITTED, tmp_path / "site")
    loaded = ["index.html", *(link for link in parsed(tmp_path / "site" / "index.html").loaded)]
    size = sum((tmp_path / "site" / name).stat().st_size for name in loaded)
    assert {Path(name).suffix for name in loaded} >= {".html", ".css", ".webp", ".svg"}
    assert size < 200_000


def test_a_broken_result_is_named_and_the_rest_is_built(some: Path, tmp_path: Path, cli):
    (some / "stackedmnist" / "meg" / "broken.json").write_text('{"schema_version": 2}')
    said = cli("site", "build", "--results", some, "--out", tmp_path / "site")
    assert said.code == 1 and "broken.json" in said.err
    home = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert "broken.json" in home and "1000" in (tmp_path / "site" / "tasks" / "stackedmnist.html").read_text()


HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(2)> {{ 7 * 7 }} ${8 * 8}'


def test_markup_in_any_text_of_a_result_is_shown_and_not_obeyed(some: Path, tmp_path: Path):
    path = some / "gaussian" / "vae" / one_of("gaussian", "vae").name
    raw = json.loads(path.read_text())
    raw["model"] |= {"title": HOSTILE, "variant": HOSTILE, "name": HOSTILE}
    raw["task"] |= {"protocol": HOSTILE, "source": HOSTILE, "options": {HOSTILE: HOSTILE}}
    raw["sampler"] = {"name": HOSTILE, "knobs": {HOSTILE: HOSTILE}}
    raw |= {"budget": HOSTILE, "overrides": {HOSTILE: HOSTILE}, "config": {HOSTILE: HOSTILE}}
    raw["details"] = {HOSTILE: [HOSTILE, {"inner": HOSTILE}]}
    raw["metrics"] |= {HOSTILE: 1.0}
    raw["provenance"]["command"] = raw["provenance"]["platform"] = HOSTILE
    path.write_text(json.dumps(raw))
    assert build(some, tmp_path / "site") == []
    pages = list((tmp_path / "site").rglob("*.html"))
    hit = [page for page in pages if "alert(1)" in page.read_text(encoding="utf-8")]
    assert len(hit) >= 3
    # What somebody only claims is not on the first page.
    assert tmp_path / "site" / "index.html" not in hit
    for page in hit:
        text = page.read_text(encoding="utf-8")
        assert "<script>alert" not in text and "<img src=x" not in text
        assert "{{ 7 * 7 }}" in text and "49" not in re.findall(r"onerror=alert\(2\)&gt; (\S+)", text)
        links = parsed(page)
        assert links.tags.count("script") == text.count('src="') - text.count("<img"), "no script of theirs"


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


def test_a_task_that_nobody_knows_has_a_page_too(some: Path, tmp_path: Path):
    path = some / "gaussian" / "vae" / one_of("gaussian", "vae").name
    raw = json.loads(path.read_text())
    raw["task"]["name"] = "a-strangers-task"
    path.write_text(json.dumps(raw))
    assert build(some, tmp_path / "site") == []
    assert "relative_gap" in (tmp_path / "site" / "tasks" / "a-strangers-task.html").read_text()


def changed(some: Path, name: str, **parts: object) -> Path:
    """A result of the VAE once more, with parts of another value, in a file of that name."""
    raw = resultfiles.read(one_of("gaussian", "vae")).model_dump(mode="json")
    for path, value in parts.items():
        *parents, last = path.split("__")
        place = raw
        for parent in parents:
            place = place[parent]
        place[last] = value
    raw |= {"run_id": parts.get("run_id", name), "pictures": {}}
    file = some / "odd" / f"{name}.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(raw))
    return file


def test_odd_results_are_named_and_the_rest_is_built(some: Path, tmp_path: Path, cli):
    nested: list[object] = []
    for _ in range(400):
        nested = [{"a": nested}]
    odd = [
        changed(some, "no-metrics", task__name="mine", metrics={}),
        changed(some, "no-metrics-here", metrics={}),
        changed(some, "long-name", model__name="n" * 300),
        changed(some, "long-task", task__name="n" * 300),
        changed(some, "long-id", run_id="n" * 300),
        changed(some, "vast", seed=2, metrics={"relative_gap": 1.7e308}, model__name="vast"),
        changed(some, "vast-too", seed=3, metrics={"relative_gap": -1.7e308}, model__name="vast"),
        changed(some, "nested", details={"a": nested}, model__name="nested"),
        # Of two of one id the one that a model of the project made is kept.
        changed(some, "long-name-2", model__name="m" * 100),
    ]
    changed(some, "twice", run_id="long-name-2")
    said = cli("site", "build", "--results", some, "--out", "site")
    assert said.code == 1, said.err
    named = {line.split(": ")[1] for line in said.err.splitlines() if line.startswith("left out: ")}
    assert named == {str(path) for path in odd}
    home = (tmp_path / "site" / "index.html").read_text()
    assert "vast-too.json" in home and "no metric" in home
    made = resultfiles.read(one_of("gaussian", "vae"))
    page = (tmp_path / "site" / "tasks" / "gaussian.html").read_text()
    assert f'data-value="{made.metrics["relative_gap"]}"' in page
    assert (tmp_path / "site" / "results" / "gaussian" / made.model.name / "long-name-2.html").exists()
    for page in (tmp_path / "site").rglob("*.html"):
        for target in parsed(page).targets:
            if not target.startswith(("http", "data:", "#")):
                assert (page.parent / unquote(target.partition("#")[0])).exists(), f"{page} -> {target}"


def test_a_row_that_no_table_can_hold_is_named_and_the_others_are_there(
    some: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    odd = [changed(some, f"odd-{seed}", model__name="odd", seed=seed) for seed in (0, 1)]
    rows = views.tables.rows

    def fail(results, task, **more):
        if any(result.model.name == "odd" for result in results):
            raise OverflowError("too large")
        return rows(results, task, **more)

    monkeypatch.setattr("ebbench.site.views.tables.rows", fail)
    problems = build(some, tmp_path / "site")
    assert [problem.path for problem in problems] == odd and "too large" in problems[0].reason
    made = resultfiles.read(one_of("gaussian", "vae"))
    page = (tmp_path / "site" / "tasks" / "gaussian.html").read_text()
    assert f'data-value="{made.metrics["relative_gap"]}"' in page and "odd" not in page


def test_a_chart_of_odd_details_is_named_and_its_page_is_there(some: Path, tmp_path: Path):
    path = some / "stackedmnist" / "meg" / one_of("stackedmnist", "meg").name
    raw = json.loads(path.read_text())
    raw["details"]["modes_by_count"] = ["many", {"few": 1}]
    path.write_text(json.dumps(raw))
    (problem,) = build(some, tmp_path / "site")
    assert problem.path == Path("tasks/stackedmnist.html") and "How often each mode was met" in problem.reason
    page = (tmp_path / "site" / "tasks" / "stackedmnist.html").read_text()
    assert "The table" in page and "<svg" in page


BROKEN = {
    "raise RuntimeError('not any more')": "not any more",
    "import ebbench\n\n\nclass T(ebbench.Task):\n    pass\n": "does not declare what it must",
    "import ebbench\n\n\nclass T(ebbench.Task):\n    version = 1\n    protocols = {}\n    published = ()\n"
    "    metrics = ('kl',)\n": "no Metric",
}


@pytest.mark.parametrize("code", list(BROKEN))
def test_a_task_that_does_not_load_is_named_and_its_page_says_what_it_can(
    code: str, some: Path, tmp_path: Path, plugins: Path, cli
):
    changed(some, "of-dots", task__name="dots", metrics={"kl": 0.25, "other": 2.0}, hash_kind="source")
    folder = plugins / "dots"
    (folder / "task.py").write_text(code)
    (folder / "README.md").write_text("# Dots\n\nWords of its author, see [this](../../docs/findings.md).\n")
    said = cli("site", "build", "--results", some, "--out", "site")
    assert said.code == 1 and f"left out: {folder}: " in said.err and BROKEN[code] in said.err
    page = (tmp_path / "site" / "tasks" / "dots.html").read_text()
    assert "Words of its author" in page and 'href="../findings.html"' in page
    assert "0.25" in page and "nothing is ranked" in page and BROKEN[code] in page
    assert "nothing is ranked" not in (tmp_path / "site" / "tasks" / "gaussian.html").read_text()
    assert str(tmp_path) not in page, "no path of this machine"


def test_a_method_that_does_not_load_is_named_and_its_page_is_there(
    some: Path, tmp_path: Path, plugins: Path, cli
):
    (plugins / "blob" / "model.py").write_text("import a_package_that_is_nowhere\n")
    said = cli("site", "build", "--results", some, "--out", "site")
    assert said.code == 1 and "a_package_that_is_nowhere" in said.err
    page = (tmp_path / "site" / "methods" / "blob.html").read_text()
    assert "does not load here" in page and "a_package_that_is_nowhere" in page


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
    assert (tmp_path / "site" / "index.html").read_text().count("†</span>") == 1


def test_rows_that_their_scores_alone_part_are_told_apart(some: Path, tmp_path: Path):
    for score in ("energy", "gradient_norm"):
        changed(some, f"by-{score}", model__name="gan", score=score)
    assert build(some, tmp_path / "site") == []
    for page in ("index.html", "tasks/gaussian.html", "methods/gan.html"):
        text = (tmp_path / "site" / page).read_text()
        assert "by energy" in text and "by gradient_norm" in text, page


def test_two_names_never_share_a_page(some: Path, tmp_path: Path):
    for i, name in enumerate(("a/b", "a_b", "..", "A b", "é")):
        changed(some, f"named-{i}", task__name=name, model__name=name)
    assert build(some, tmp_path / "site") == []
    pages = [path.name for path in (tmp_path / "site" / "methods").glob("*.html")]
    assert {"a_b.html"} <= set(pages) and len([name for name in pages if name.startswith("a_b")]) == 2


def test_a_picture_that_is_a_link_is_on_no_page(some: Path, tmp_path: Path):
    made = resultfiles.read(one_of("stackedmnist", "meg"))
    picture = some / "stackedmnist" / "meg" / made.pictures["samples"]
    (tmp_path / "private.png").write_bytes(picture.read_bytes())
    picture.unlink()
    picture.symlink_to(tmp_path / "private.png")
    build(some, tmp_path / "site")
    assert not list((tmp_path / "site").rglob(picture.name))
    for page in (tmp_path / "site").rglob("*.html"):
        assert f'src="{picture.name}"' not in page.read_text() and f'/{picture.name}"' not in page.read_text()


def test_no_results_make_a_site_that_says_so(tmp_path: Path):
    (tmp_path / "none").mkdir()
    assert build(tmp_path / "none", tmp_path / "site") == []
    assert "There are no results yet." in (tmp_path / "site" / "index.html").read_text()


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
