"""What methods, their configurations and metrics are called on the pages: titles and words, not ids."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

from markupsafe import Markup

from ebbench.board import labels
from ebbench.board.row import Row
from ebbench.contract import Metric
from ebbench.plugins import loader
from ebbench.plugins.lookalikes import skeleton
from ebbench.record.schema import Result

# Parts of metrics' names that are written another way on every task. A task's card has those of its own.
_WORDS = {
    "10k": "(10,000 samples)",
    "1k": "(1,000 samples)",
    "5k": "(5,000 samples)",
    "auprc": "AUPRC",
    "auroc": "AUROC",
    "f1": "F1 score",
    "fid": "FID",
    "is": "Inception score",
    "kid": "KID",
    "kl": "KL divergence",
    "mmd": "MMD",
    "share_memorised": "Share of memorised samples",
    "wasserstein": "Wasserstein",
}
_UNITS = {"share": "share, 0 to 1", "%": "per cent"}
_RAISED = str.maketrans("-0123456789n", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹ⁿ")
# The sampler that needs no mention.
PLAIN = "generator"


def metric(one: Metric) -> str:
    """The name of a metric in words: "average_precision" is "Average precision"."""
    return words(one.name)


def words(name: str) -> str:
    """A name of parts joined by underscores, in words. Of several parts with words of their own the most."""
    known = _words_of_tasks() | _WORDS
    parts = [part for part in name.split("_") if part]
    said = []
    while parts:
        most = next((n for n in range(len(parts), 0, -1) if "_".join(parts[:n]) in known), 1)
        key = "_".join(parts[:most])
        said.append(known.get(key, key))
        parts = parts[most:]
    text = " ".join(said) or name
    return text[:1].upper() + text[1:]


@cache
def _words_of_tasks() -> dict[str, str]:
    """The words of the cards of the project's own tasks. A page of a result shows them without the task."""
    cards = [loader.load("task", name).card for name in loader.built_in("task")]
    return {part: said for card in cards for part, said in card.words.items()}


def picture(name: str) -> str:
    """The name of a picture in words: "25gaussians-landscape" is "landscape (25 Gaussians)"."""
    *of, kind = name.split("-")
    return " ".join([kind, *(f"({words(part).strip('()')})" for part in of)])


def breakable(title: str) -> Markup:
    """A title that may break inside a compound such as "StackedMNIST" if its column is narrow."""
    return Markup("<wbr>").join(re.split(r"(?<=[a-z])(?=[A-Z]{2})", title))


def unit(one: Metric) -> str:
    """The unit and the direction of a metric, in words."""
    measured = "" if one.unit == one.name else powers(_UNITS.get(one.unit, one.unit))
    better = {"lower": "lower is better", "higher": "higher is better"}.get(one.better, "")
    return ", ".join(part for part in (measured, better) if part)


def powers(text: str) -> str:
    """A text with its powers raised: "10^n" is "10ⁿ", "e^-10" is "e⁻¹⁰"."""
    return re.sub(r"\^(-?\d+|n\b)", lambda found: found[1].translate(_RAISED), text)


def css_string(text: str) -> Markup:
    """A text as a string of a style sheet. Whatever could end the string or the sheet is escaped."""
    return Markup('"{}"').format(Markup(re.sub(r"[^\w ,.()%-]", lambda one: f"\\{ord(one[0]):x} ", text)))


def title(row: Row) -> str:
    """The title of a row's method, or its id if the title looks like that of a built-in method."""
    own = _built_in_titles()
    if row.model in own:
        return own[row.model]
    taken = {skeleton(text) for text in (*own, *own.values(), *_titled_variants().values())}
    return row.model if not row.title or skeleton(row.title) in taken else row.title


@cache
def _built_in_titles() -> dict[str, str]:
    """The titles of the project's own models, by name."""
    return {name: loader.load("model", name).card.title for name in loader.built_in("model")}


@cache
def _titled_variants() -> dict[tuple[str, str], str]:
    """The titles of variants of the project's own models, by model and variant."""
    cards = {name: loader.load("model", name).card for name in loader.built_in("model")}
    return {
        (name, key): one.title
        for name, card in cards.items()
        for key, one in card.variants.items()
        if one.title
    }


def variant(row: Row) -> str:
    """The variant of a row by its title, or by its name if it has none."""
    return _titled_variants().get((row.model, row.variant), row.variant)


def configuration(row: Row, among: Sequence[Row]) -> str:
    """What a row adds to its method's title: variant, sampler, changed settings, and score."""
    config, knobs = labels.changed(row)
    sampler = row.sampler if row.sampler and row.sampler != PLAIN else ""
    twins = {other.score for other in among if labels.label(other) == labels.label(row)}
    by_score = f"by {row.score}" if twins - {row.score} else ""
    parts = (variant(row), f"{sampler} {knobs}".strip(), config, by_score)
    return ", ".join(part for part in parts if part)


def called(row: Row, among: Sequence[Row]) -> str:
    """The title of a row's method and its configuration: "MEG (mala)"."""
    name, details = name_and_settings(row, among)
    return f"{name} ({details})" if details else name


def name_and_settings(row: Row, among: Sequence[Row]) -> tuple[str, str]:
    """The two parts of what a row is called: the title, and the configuration."""
    details, own = configuration(row, among), variant(row)
    if own == row.variant:
        return title(row), details
    # "EBGAN-PT" says all of "EBGAN (EBGAN-PT)".
    return own, details.removeprefix(own).removeprefix(", ")


def settings(result: Result) -> str:
    """What sets a result apart from its method's plain one: variant, sampler, and changed settings."""
    sampler = result.sampler.name if result.sampler and result.sampler.name != PLAIN else ""
    parts = (result.model.variant, sampler, labels.settings(result.overrides))
    return ", ".join(part for part in parts if part)


def made_at(result: Result) -> str:
    """The settings of the task that a result was made at, in words, as at the head of a block of rows."""
    shared = {key: value for key, value in result.task.row_options.items() if value != ""}
    parts = [f"Protocol {result.task.protocol}", f"budget {result.budget}", f"data {result.task.source}"]
    parts += [labels.settings(shared), f"version {result.task.version}"]
    return ", ".join(part for part in parts if part)


def short(row: Row) -> str:
    """The title of a row's method and its variant: "MEG, untrained", "EBGAN-PT"."""
    own = variant(row)
    return own if own != row.variant else f"{title(row)}, {own}" if own else title(row)


def group(rows: Sequence[Row], among: Sequence[Row] = ()) -> str:
    """What the rows of a block share, in words; `among` are all rows of the page."""
    first = rows[0]
    shared = labels.settings({name: value for name, value in first.options.items() if value != ""})
    parts = [f"Protocol {first.protocol}", f"budget {first.budget}", f"data {first.source}", shared]
    parts += [labels.data_apart(first, among)]
    parts += [f"version {first.task_version}"] + ([f"{first.block}: not ranked"] if first.block else [])
    return ", ".join(part for part in parts if part)


def best_of_each(rows: Sequence[Row], kind: str = "model") -> list[Row]:
    """The first row of each method. In a ranked group this is its best row."""
    first: dict[str, Row] = {}
    for row in rows:
        if row.kind == kind:
            first.setdefault(row.model, row)
    return list(first.values())


def better(one: Metric, rows: Sequence[Row]) -> list[Row]:
    """The rows that have a metric, best first; in their own order if neither direction is better."""
    able = [row for row in rows if one.name in row.metrics]
    if one.better == "neither":
        return able
    sign = 1 if one.better == "lower" else -1
    return sorted(able, key=lambda row: sign * row.metrics[one.name].interval.mean)
