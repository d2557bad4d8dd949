"""What a task's page shows beside its table, and how pages say what a method cannot do."""

from __future__ import annotations

import re
from pathlib import Path

from ebbench.site import matrix, task_page, task_table, wording
from ebbench.site.known import Known
from ebbench.site.task_page import Picture
from ebbench.site.views import MethodView, TaskView

import boards
from ebbench.contract import Metric
from ebbench.plugins import loader


def test_the_metrics_of_the_project_s_tasks_have_words():
    for name in loader.built_in("task"):
        task = loader.load("task", name)
        for metric in task.cls.metrics:
            assert "_" not in wording.metric(metric), metric.name
    assert wording.words("kl_floor_data") == "KL of a perfect sampler", "not the shorter kl_floor or kl"
    assert wording.words("high_quality_3_25gaussians") == "Within 3 deviations (25 Gaussians)"
    assert wording.words("a_name_of_ours") == "A name of ours"


def test_a_picture_is_named_by_what_it_shows():
    assert wording.picture("25gaussians-landscape") == "landscape (25 Gaussians)"
    assert wording.picture("samples") == "samples"


def test_a_method_that_cannot_do_a_task_is_not_called_not_run():
    task = TaskView("t", Known(needs="energy"), [], {})
    assert matrix.lacks(task, method("sample")) == "gives no energy"
    assert matrix.lacks(task, method("sample", "energy")) == ""
    assert matrix.lacks(task, method()) == "", "a method whose code is not here may be able"
    assert matrix.lacks(TaskView("t", Known(), [], {}), method("sample")) == "", (
        "so is one of an unknown task"
    )


def method(*capabilities: str) -> MethodView:
    return MethodView("m", "M", Known(capabilities=capabilities), [])


def test_the_pictures_at_the_top_are_of_one_size():
    def one(kind: str, side: int) -> Picture:
        return Picture(f"{kind} {side}", kind, "samples", "", (side, side), None)

    wide = {"a": [one("control", 2), one("model", 1), one("model", 2), one("control", 1)]}
    assert [shown.called for shown in task_page.heroes(wide)] == ["control 2", "model 2"]
    assert task_page.heroes({"a": [one("model", 1)], "b": [one("control", 1)]}) == []


def test_a_score_for_each_digit_is_a_dash_and_no_line(board: Path):
    page = (board / "tasks" / "mnist-anomaly.html").read_text(encoding="utf-8")
    drawn = page.split('<figure class="hero-picture chosen">')[1].split("</figure>")[0]
    lines = re.findall(r'<path d="([^"]+)" class="line', drawn)
    assert lines and {line.count("M") for line in lines} == {5}, "digits 1, 4, 5, 7 and 9"
    assert all(len(set(re.findall(r"[ML][\d.]+ ([\d.]+)", line))) <= 5 for line in lines), "a dash is level"


def test_a_variant_with_a_title_goes_by_it():
    plain, titled, other = (
        boards.row("fid", "ebgan", 1.0, title="EBGAN", variant=variant) for variant in ("", "pt", "conv")
    )
    among = [plain, titled, other]
    assert [wording.called(one, among) for one in among] == ["EBGAN", "EBGAN-PT", "EBGAN (conv)"]
    assert [wording.short(one) for one in among] == ["EBGAN", "EBGAN-PT", "EBGAN, conv"]
    changed = boards.row("fid", "ebgan", 1.0, title="EBGAN", variant="pt", overrides={"steps": 5})
    assert wording.called(changed, [changed]) == "EBGAN-PT (steps=5)"
    stranger = boards.row("fid", "mine", 1.0, title="EBGAN-PT")
    assert wording.title(stranger) == "mine", "it takes the title of a variant of this project"


def test_a_page_names_the_findings_about_it(board: Path):
    task = (board / "tasks" / "mnist.html").read_text(encoding="utf-8")
    method = (board / "methods" / "ddls.html").read_text(encoding="utf-8")
    assert re.search(r'Findings: <a href="\.\./findings/ebgan-grid\.html">', task)
    assert 'href="../findings/cifar10-in-half-an-hour.html"' in method.split("Findings: ")[1].split("</p>")[0]


def test_a_metric_names_the_function_that_computes_it(board: Path):
    page = (board / "tasks" / "stackedmnist.html").read_text(encoding="utf-8")
    kl = page.split('<dt id="metric-kl">')[1].split("<dt ")[0]
    (address,) = re.findall(r'by <a href="\.\./docs/api\.html#([^"]+)"><code>coverage\.kl_to_uniform', kl)
    assert f'id="{address}"' in (board / "docs" / "api.html").read_text(encoding="utf-8")
    toys = (board / "tasks" / "toy2d.html").read_text(encoding="utf-8")
    assert not re.findall(r"computed at <a [^>]*published\.py", toys), "a paper's numbers are no computation"


def test_rows_of_an_older_version_of_the_task_are_said_to_be():
    metric = Metric(name="fid", unit="", better="lower", doc="A distance.", primary=True)
    rows = [boards.row("fid", name, 1.0, 2.0, task_version=1) for name in ("a", "b")]

    def said(version: int) -> str:
        known = Known(metrics=(metric,), protocols={"clean": "as it should be"}, version=version)
        return " ".join(task_table.sentences(TaskView("t", known, rows, {})))

    assert "of version 1 of the task, which is now at version 2." in said(2)
    assert "version" not in said(1)
