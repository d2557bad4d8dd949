"""Exports the rows of a table as JSON, CSV, Markdown and LaTeX, and the words that these share."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from ebbench.board.labels import cells, footer, groups, header, scored
from ebbench.board.row import Row
from ebbench.contract import Metric
from ebbench.record.text import one_line


def as_json(rows: Sequence[Row], metrics: Sequence[Metric]) -> str:
    """A JSON list of rows, with all metrics."""
    whole = [row.as_json() for row in rows]
    return json.dumps(whole, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def as_csv(rows: Sequence[Row], metrics: Sequence[Metric]) -> str:
    """One line per row, with all metrics."""
    names = list(dict.fromkeys(name for row in rows for name in (*row.metrics, *row.published)))
    lines = [_flat(row, names) for row in rows]
    text = io.StringIO()
    # Without rows there are no metrics: the header has the columns that do not depend on them.
    writer = csv.DictWriter(text, list(lines[0]) if lines else list(_FLAT), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _csv_cell(value) for name, value in line.items()} for line in lines)
    return text.getvalue()


_FLAT = (
    "task",
    "task_version",
    "protocol",
    "source",
    "options",
    "data",
    "budget",
    "tier",
    "block",
    "rank",
    "invalid",
    "code",
    "kind",
    "model",
    "variant",
    "overrides",
    "sampler",
    "score",
    "n",
    "seeds",
    "level",
    "method",
    "commits",
    "machines",
)


def _flat(row: Row, metrics: Sequence[str]) -> dict[str, Any]:
    whole = row.as_json() | {
        "n": len(row.seeds),
        "seeds": " ".join(map(str, row.seeds)),
        "options": _compact(row.options),
        "data": row.data,
        "overrides": _compact(row.overrides),
        "commits": " ".join(row.commits),
        "machines": "; ".join(row.machines),
    }
    line = {name: whole[name] for name in _FLAT}
    for name in metrics:
        cell, reference = row.metrics.get(name), row.published.get(name)
        line[f"{name}_mean"] = cell.interval.mean if cell else None
        line[f"{name}_low"] = cell.interval.low if cell else None
        line[f"{name}_high"] = cell.interval.high if cell else None
        line[f"{name}_published"] = reference.value if reference else None
        line[f"{name}_published_plus_minus"] = reference.plus_minus if reference else None
    return line


def _csv_cell(value: Any) -> Any:
    """A value that is safe in a spreadsheet: text that would be a formula gets a leading apostrophe."""
    if not isinstance(value, str):
        return value
    text = one_line(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def _compact(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False) if value else ""


def as_markdown(rows: Sequence[Row], metrics: Sequence[Metric]) -> str:
    """One table per group, with the given `metrics`."""
    lines: list[str] = []

    def line(texts: Sequence[str]) -> str:
        return "| " + " | ".join(texts) + " |"

    for title, group in groups(rows):
        columns = scored(group, metrics)
        heads = header(group, columns)
        lines += [f"### {_markdown_text(title)}", ""]
        lines.append(line([_markdown_text(name) for name, _ in heads]))
        lines.append(line(["---:" if numeric else "---" for _, numeric in heads]))
        for row in group:
            lines.append(line([_markdown_text(cell) for cell in cells(row, group, columns)]))
        lines.append("")
    lines += [_markdown_text(note) + "  " for note in footer(rows, metrics)]
    return "".join(text + "\n" for text in lines)


def as_latex(rows: Sequence[Row], metrics: Sequence[Metric]) -> str:
    """One tabular per group, with the given `metrics`."""
    lines: list[str] = []
    for title, group in groups(rows):
        columns = scored(group, metrics)
        heads = header(group, columns)
        layout = "".join("r" if numeric else "l" for _, numeric in heads)
        lines += [f"% {one_line(title)}", rf"\begin{{tabular}}{{{layout}}}", r"\hline"]
        lines.append(" & ".join(_latex_text(name) for name, _ in heads) + r" \\")
        lines.append(r"\hline")
        for row in group:
            lines.append(" & ".join(_latex_text(cell) for cell in cells(row, group, columns)) + r" \\")
        lines += [r"\hline", r"\end{tabular}", ""]
    lines += [f"% {one_line(note)}" for note in footer(rows, metrics)]
    return "".join(text + "\n" for text in lines)


def _markdown_text(text: str) -> str:
    for character in "\\`*_[]|<>":
        text = text.replace(character, "\\" + character)
    return one_line(text)


_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "±": r"$\pm$",
}


def _latex_text(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in one_line(text))
