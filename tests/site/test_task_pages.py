"""What a task's page shows beside its table, and how pages say what a method cannot do."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

from ebbench.site import charts, home, matrix, spreads, task_page, task_table, wording
from ebbench.site.known import Known
from ebbench.site.task_page import Picture
from ebbench.site.views import MethodView, TaskView

import boards
from ebbench.contract import Metric
from ebbench.plugins import loader

FID = Metric(name="fid", unit="", better="lower", doc="", primary=True)


def test_the_metrics_of_the_project_s_tasks_have_words():
    for name in loader.built_in("task"):
        task = loader.load("task", name)
        for metric in task.cls.metrics:
            assert "_" not in wording.metric(metric), metric.name
    assert wording.words("kl_floor_data") == "KL of a perfect sampler", "not the shorter kl_floor or kl"
    assert wording.words("high_quality_3_25gaussians") == "Within 3 deviations (25 Gaussians)"
    assert wording.words("a_name_of_ours") == "A name of ours"


def test_powers_are_raised_and_nothing_else_is():
    assert wording.powers("26*10^n samples in [-2, 2]^2, to e^-10") == "26*10ⁿ samples in [-2, 2]², to e⁻¹⁰"
    assert wording.powers("a^name, ^") == "a^name, ^"


def test_no_text_ends_a_string_of_a_style_sheet():
    assert wording.css_string("FID (features) ↓") == '"FID (features) \\2193 "'
    made = wording.css_string('"; } </style><b>\n\\')
    assert not set('";}<>\n') & set(made[1:-1])


def test_a_tie_of_few_seeds_is_said_to_be():
    def one(model: str, *values: float):
        return boards.row("fid", model, *values, rank=1)

    def leader(*rows):
        return home.Leader(TaskView("t", Known(), [], {}), FID, "", "", rows[0], rows[1:])

    many, few, single = one("a", 1, 2, 3, 4), one("b", 1, 2), one("c", 1)
    assert leader(many, few).few and leader(few, many).few
    assert not leader(many, many).few
    assert not leader(few).few, "nothing is tied"
    assert not matrix.few(single), "one seed has no interval, and is said to be one"


def test_the_spread_of_each_kind_is_where_its_quantiles_are():
    kinds = {"others": [-9, -8, -6, -5, -4, -2, -1], "own": [0, 1, 2, 3, 4, 5, 9]}
    drawn = ET.fromstring(str(spreads.drawn(kinds, "Bound, nats", 310, 170)))
    names = [text.text for text in drawn.findall("text")]
    assert names == ["own", "others"], "the greatest median first"
    places = {}
    for name, group in zip(names, drawn.findall("g[@class='model']"), strict=True):
        lines = {line.get("class"): line for line in group}
        ends = [float(lines[kind].get(end)) for kind in ("interval", "half") for end in ("x1", "x2")]
        places[name] = [*ends, float(lines["mean"].get("x1"))]
    # From -8 to 5 on one axis.
    unit = (places["own"][1] - places["others"][0]) / 13
    start = places["others"][0]
    assert [round((at - start) / unit - 8, 1) for at in places["own"]] == [1, 5, 2, 4, 3]
    assert [round((at - start) / unit - 8, 1) for at in places["others"]] == [-8, -2, -6, -4, -5]
    odd = charts.Chart("", "", lambda: spreads.drawn({"a": [1, 2]}, "", 310, 170))
    made, problems = charts.drawn([odd], "")
    assert made == [] and "a has 2 quantiles" in problems[0].reason


def test_the_card_of_likelihoods_is_drawn_and_no_bitmap(board: Path):
    text = (board / "index.html").read_text(encoding="utf-8")
    cards = re.findall(r"<article.*?</article>", text, re.DOTALL)
    (card,) = [card for card in cards if "mnist-likelihood.html" in card]
    assert "<img" not in card and 'class="half"' in card and "Bound, nats" in card
    assert "swatch" not in card, "its lines are kinds of images, not methods"


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
