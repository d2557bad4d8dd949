"""The site in a real browser: what the script does, what is there without it, and that nothing leaves."""

from __future__ import annotations

import itertools
import json
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from ebbench.site.build import build

from ebbench.board.stats import holm

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install '.[dev]'")

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium: .ci/run installs it"),
    # Playwright's own event loop leaves sockets to the collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    with playwright.sync_playwright() as p:
        made = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield made
        made.close()


class Opened:
    """A page of the site and all that it complained of or asked for."""

    def __init__(self, browser, site: Path, path: str, **options) -> None:
        self.site, self.said, self.asked = site, [], []
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.page.on(
            "console", lambda m: self.said.append(m.text) if m.type in ("error", "warning") else None
        )
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(f"file://{site / path}")

    def methods(self) -> list[str]:
        """The names in the visible rows of the table, from the top."""
        return self.page.locator("table.board tbody tr[data-budget]:visible th a").all_inner_texts()


@pytest.fixture
def opened(browser, board: Path):
    made: list[Opened] = []

    def start(path: str, **options) -> Opened:
        made.append(Opened(browser, board, path, **options))
        return made[-1]

    yield start
    for one in made:
        one.context.close()
        assert one.said == [], "the browser's console is silent"
        assert all(url.startswith(("file://", "data:")) for url in one.asked), "nothing leaves the site"


@pytest.mark.medium
def test_sorting_keeps_groups_apart_and_goes_back(opened):
    at = opened("tasks/stackedmnist.html")
    before = at.methods()
    head = at.page.locator("th[data-key=kl]")
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    groups = at.page.evaluate(
        """() => Array.from(document.querySelectorAll("table.board tbody")).map((body) =>
        Array.from(body.querySelectorAll("tr.model")).map((row) => {
          const heads = Array.from(document.querySelector("table.board thead tr").cells);
          return parseFloat(row.cells[heads.findIndex((h) => h.dataset.key === "kl")].dataset.value);
        }))"""
    )
    assert len(groups) >= 3 and all(values == sorted(values) for values in groups)
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") is None and at.methods() == before


def test_filters_are_kept_in_the_address(opened):
    at = opened("tasks/stackedmnist.html")
    everything = len(at.methods())
    at.page.locator("select[name=protocol]").select_option("published")
    at.page.locator("th[data-key=kl] button").click()
    few = at.methods()
    assert 0 < len(few) < everything
    assert "protocol=published" in at.page.url and "sort=kl" in at.page.url
    # Another tab, given the address.
    again = opened("tasks/stackedmnist.html#" + at.page.url.partition("#")[2])
    assert again.methods() == few
    again.page.get_by_role("button", name="Clear").click()
    assert len(again.methods()) == everything and "#" not in again.page.url


def test_the_methods_of_a_family_can_be_shown_alone(opened):
    cards = [tomllib.loads(card.read_text()) for card in (ROOT / "baselines").glob("*/card.toml")]
    energies = {card["title"] for card in cards if "energy-based" in card.get("families", [])}
    at = opened("tasks/toy2d.html")
    everything = at.methods()
    at.page.locator("select[name=family]").select_option("energy-based")
    few = at.methods()
    # A row's name begins with its method's title; MEG is energy-based and adversarial.
    assert few == [name for name in everything if name.split(" (")[0].split("-PT")[0] in energies]
    assert {"MEG", "DDLS"} <= set(few) and "WGAN-GP" not in few
    at.page.locator("select[name=family]").select_option("adversarial")
    assert {"MEG", "DDLS", "WGAN-GP"} <= set(at.methods()) and "VAE" not in at.methods()


def test_downloads_are_files_with_the_rows(opened, board: Path):
    at = opened("tasks/stackedmnist.html")
    links = {link.inner_text(): link.get_attribute("href") for link in at.page.locator(".downloads a").all()}
    assert set(links) == {"CSV", "JSON", "LaTeX", "BibTeX"}
    rows = json.loads((board / "tasks" / links["JSON"]).read_text())
    assert len(rows) == len(at.methods())
    assert len((board / "tasks" / links["CSV"]).read_text().splitlines()) == len(rows) + 1


@pytest.mark.medium
def test_on_a_phone_the_names_stay_and_nothing_else_is_wide(opened):
    at = opened("tasks/stackedmnist.html", viewport={"width": 375, "height": 700})
    assert at.page.evaluate("document.documentElement.scrollWidth") <= 375
    first = at.page.locator("table.board tbody tr[data-budget] th").first
    box = at.page.locator(".scroll").first
    box.evaluate("box => { box.scrollLeft = 400; }")
    assert first.bounding_box()["x"] == pytest.approx(box.bounding_box()["x"], abs=2)
    for path in ("index.html", "methods/meg.html", "findings.html", "findings/kdd99.html", "docs/api.html"):
        page = opened(path, viewport={"width": 375, "height": 700}).page
        assert page.evaluate("document.documentElement.scrollWidth") <= 375, path


def test_without_script_the_tables_are_whole(opened):
    at = opened("tasks/stackedmnist.html", java_script_enabled=False)
    assert at.page.locator("table.board tbody tr[data-budget]").count() >= 10
    assert at.page.locator(".filters").count() == 0
    assert at.page.get_by_role("link", name="CSV").is_visible()


def test_a_comparison_says_each_test_in_words(opened):
    at = opened("compare.html#isolation-forest,pca")
    said = at.page.locator("#verdicts li", has_text="KDD99").inner_text()
    assert "Isolation forest is better than PCA" in said and "paired t-test over 5 seeds" in said
    at.page.locator("#choose select").nth(2).select_option("vae")
    assert at.page.url.endswith("#isolation-forest,pca,vae")
    assert at.page.locator("#verdicts li", has_text="KDD99").locator("p").count() == 3


def test_claims_of_one_verdict_are_one_click_from_home(opened):
    home = opened("index.html")
    chip = home.page.locator(".claims-bar a", has_text="contradicted")
    told = int(chip.locator("b").inner_text())
    chip.click()
    # The script shows its filters at the same moment as it hides rows.
    home.page.locator("select[name=verdict]").wait_for()
    rows = home.page.locator("table.claims tbody tr")
    assert home.page.locator("table.claims tbody tr:visible").count() == told < rows.count()
    headings = home.page.locator("section.claimed h2")
    assert 0 < home.page.locator("section.claimed h2:visible").count() < headings.count()
    home.page.locator("select[name=verdict]").select_option("")
    assert (
        home.page.locator("table.claims tbody tr:visible").count() == rows.count()
        and "#" not in home.page.url
    )


def test_the_script_adjusts_as_the_board_does(opened):
    at = opened("compare.html#meg,wgan-gp,vae")
    tests = json.loads(at.page.locator("#tests").text_content())
    names = (
        at.page.locator("#choose select").first.locator("option").evaluate_all("all => all.map(o => o.value)")
    )
    places = sorted(names.index(name) for name in ("meg", "wgan-gp", "vae"))
    shown = [one["pairs"].get(f"{a},{b}") for one in tests for a, b in itertools.combinations(places, 2)]
    adjusted = holm([pair["p"] for pair in shown if pair and pair["p"] is not None])
    verdicts = " ".join(at.page.locator("#verdicts li p").all_inner_texts())
    assert verdicts.count(" is better than ") == sum(p < 0.05 for p in adjusted)
    assert verdicts.count("a tie.") == sum(p >= 0.05 for p in adjusted)


def test_landscapes_are_stepped_through_with_buttons_and_keys(opened):
    at = opened("tasks/toy2d.html")
    stepper = at.page.locator(".stepper")
    image = stepper.locator("img")
    first = image.get_attribute("src")
    assert "(control)" in stepper.locator("p").inner_text(), "what is true comes first"
    stepper.get_by_role("button", name="Next").click()
    second = image.get_attribute("src")
    assert second != first
    before = image.bounding_box()
    at.page.keyboard.press("ArrowRight")
    assert image.get_attribute("src") not in (first, second)
    assert image.bounding_box()["y"] == pytest.approx(before["y"], abs=1), "in one place"
    assert image.bounding_box()["height"] == pytest.approx(before["height"], abs=1), "at one size"
    at.page.keyboard.press("ArrowLeft")
    assert image.get_attribute("src") == second
    kinds = stepper.locator("select").first
    kinds.select_option(index=1)
    assert "8gaussians" in image.get_attribute("src"), "another law, the same method"
    whole = opened("tasks/toy2d.html", java_script_enabled=False)
    assert whole.page.locator(".stepper").count() == 0
    assert whole.page.locator(".gallery figure").count() > 30


def test_on_a_phone_the_number_is_whole_beside_its_strip(opened):
    for task in ("kdd99", "stackedmnist"):
        page = opened(f"tasks/{task}.html", viewport={"width": 375, "height": 700}).page
        cells = page.locator("table.board tbody tr[data-budget]").first.locator("td")
        strip, number = cells.nth(1).bounding_box(), cells.nth(2).bounding_box()
        assert strip["x"] + strip["width"] <= number["x"] + 1
        assert number["x"] + number["width"] <= 375, task


def test_on_a_phone_each_number_of_the_matrix_names_its_task(opened):
    at = opened("index.html", viewport={"width": 375, "height": 700})
    box = at.page.locator(".scroll:has(> .matrix)")
    assert box.evaluate("box => box.scrollWidth <= box.clientWidth"), "nothing to scroll sideways"
    heads = at.page.locator(".matrix thead th > a").evaluate_all("all => all.map(a => a.textContent)")
    said = at.page.evaluate(
        """() => Array.from(document.querySelectorAll(".matrix tbody tr:not(.variant)")).map((row) =>
        Array.from(row.querySelectorAll("td")).map((cell) =>
          [cell.offsetHeight > 0, getComputedStyle(cell, "::before").content, cell.className]))"""
    )
    for row in said:
        for title, (shown, content, kind) in zip(heads, row, strict=True):
            assert shown == (kind in ("heat", "elsewhere"))
            assert not shown or content.strip('"').rstrip(" ↑↓") == title
    variants = at.page.locator(".matrix tr.variant")
    assert variants.count() > 10 and at.page.locator(".matrix tr.variant:visible").count() == 0
    at.page.locator(".matrix summary").first.click()
    assert at.page.locator(".matrix tr.variant:visible").count() > 1
    wide = opened("index.html", viewport={"width": 1280, "height": 700})
    assert (
        wide.page.locator(".matrix td").first.evaluate("td => getComputedStyle(td, '::before').content")
        == "none"
    )


def test_the_strips_of_a_card_are_wide_enough_to_read(opened):
    for width, least in ((1280, 200), (768, 200), (375, 75)):
        page = opened("index.html", viewport={"width": width, "height": 700}).page
        widths = page.locator(".strips tbody .strip").evaluate_all("all => all.map(s => s.clientWidth)")
        assert widths and min(widths) >= least, width


HOSTILE = '"><script>alert(1)</script><img src=x onerror="alert(2)"><svg onload=alert(3)>'


@pytest.mark.medium
def test_what_a_stranger_wrote_runs_in_no_browser(browser, tmp_path: Path):
    source = next((ROOT / "results" / "gaussian" / "vae").glob("*.json"))
    raw = json.loads(source.read_text(encoding="utf-8"))
    raw["model"] |= {"title": HOSTILE, "variant": HOSTILE}
    raw["task"] |= {"protocol": HOSTILE, "source": HOSTILE, "options": {HOSTILE: HOSTILE}}
    raw |= {"budget": HOSTILE, "overrides": {HOSTILE: HOSTILE}, "details": {HOSTILE: HOSTILE}, "pictures": {}}
    raw["provenance"]["command"] = HOSTILE
    folder = tmp_path / "results" / "gaussian" / "vae"
    folder.mkdir(parents=True)
    (folder / source.name).write_text(json.dumps(raw), encoding="utf-8")
    assert build(tmp_path / "results", tmp_path / "site") == []
    result_page = f"results/gaussian/vae/{source.stem}.html"
    for path in ("index.html", "tasks/gaussian.html", "methods/vae.html", result_page):
        at = Opened(browser, tmp_path / "site", path)
        alerts: list[str] = []
        at.page.on("dialog", lambda dialog, seen=alerts: (seen.append(dialog.message), dialog.dismiss()))
        at.page.reload()
        at.page.wait_for_timeout(100)
        assert "alert(1)" in at.page.content(), f"{path} shows it"
        assert alerts == [] and at.said == [], path
        assert all(url.startswith(("file://", "data:")) and not url.endswith("/x") for url in at.asked)
        at.context.close()


def test_the_search_finds_a_name_of_the_api(opened):
    page = opened("docs.html").page
    page.fill("#q", "frechet_distance")
    found = page.locator("#found a")
    assert "docs/api.html#ebbench.metrics.image.frechet_distance" in [
        found.nth(i).get_attribute("href") for i in range(found.count())
    ]


@pytest.mark.medium
@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize(
    "path",
    [
        "index.html",
        "tasks/stackedmnist.html",
        "tasks/stackedmnist-task.py.html",
        "tasks/adbench.html",
        "tasks/toy2d.html",
        "methods/meg.html",
        "findings.html",
        "findings/kdd99.html",
        "docs/api.html",
        "docs/metrics.html",
        "compare.html",
        "docs.html",
        "changes.html",
        "claims.html",
    ],
)
def test_axe_finds_nothing_serious(opened, path: str, colours: str):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-core")
    at = opened(path, color_scheme=colours)
    assert at.said == []
    found = axe.Axe().run(at.page).response["violations"]
    # axe asks for the style sheet by script, which a browser does not give it from a file; it says so late.
    at.page.wait_for_timeout(50)
    at.said.clear()
    serious = [v for v in found if v["impact"] in ("serious", "critical")]
    said = [(v["id"], v["nodes"][0]["html"][:120], v["nodes"][0]["failureSummary"][:300]) for v in serious]
    assert not said
