"""The schema of `card.toml`."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Callable
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator

from ebbench.errors import PluginError
from ebbench.record.text import fault as text_fault

# The key in a budget's table for how long the training took on the machine that `measured_on` names. It
# limits nothing.
MINUTES = "minutes"

_NAME = r"^[a-z0-9]+(-[a-z0-9]+)*$"
# A variant's name follows the model's name and a colon. It is also a part of file names.
_VARIANT = r"^[A-Za-z0-9][A-Za-z0-9._+-]*$"
MOST_NAME, MOST_TITLE, MOST_TEXT = 64, 120, 600


def _within(most: int) -> Callable[[str], str]:
    def check(text: str) -> str:
        if wrong := text_fault(text, most):
            raise ValueError(f"the text {wrong}")
        return text

    return check


def _web(url: str) -> str:
    if url and (urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc):
        raise ValueError("a link must begin with http:// or https://")
    return url


_Title = Annotated[str, Field(min_length=1), AfterValidator(_within(MOST_TITLE))]
_Text = Annotated[str, AfterValidator(_within(MOST_TEXT))]
_Url = Annotated[_Text, AfterValidator(_web)]
_Tables = dict[str, dict[str, dict[str, Any]]]
Family = Literal["energy-based", "adversarial", "autoencoder", "classical"]


def _budgets(budgets: _Tables) -> _Tables:
    for budget, tables in budgets.items():
        for table, values in tables.items():
            minutes = values.get(MINUTES, 0)
            number = isinstance(minutes, int | float) and not isinstance(minutes, bool)
            if not number or not math.isfinite(minutes) or minutes < 0:
                at = f"{budget}.{table}.{MINUTES}"
                raise ValueError(f"{at} cannot be {minutes!r}: it must be a number of minutes, at least 0")
    return budgets


Budgets = Annotated[_Tables, AfterValidator(_budgets)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Variant(_Strict):
    """A named configuration of a model. `set` overrides the values of the budget.

    Its own `budgets[budget][task or "default"]` override both, for example if its networks need other sizes.
    `score` is its declared score, if that differs from the model's. `control` says that it is a control.
    `title` is its name, if it has one of its own ("EBGAN-PT").
    """

    summary: _Text
    title: Annotated[str, AfterValidator(_within(MOST_TITLE))] = ""
    set: dict[str, Any] = Field(default_factory=dict)
    budgets: Budgets = Field(default_factory=dict)
    control: bool = False
    score: str = ""


class Card(_Strict):
    """The fields that `card.toml` may have for a model or a task.

    `files` are the files other than code that the plug-in reads from its folder. They are paths in the
    folder, or patterns such as "weights/*". They are part of the code hash.
    """

    name: str = Field(pattern=_NAME, max_length=MOST_NAME)
    title: _Title
    summary: _Text = ""
    paper: _Text = ""
    authors: _Text = ""
    year: int | None = None
    url: _Url = ""
    files: tuple[str, ...] = ()


class TaskCard(Card):
    """A task's card.

    `headline` is the budget whose rows represent the task on the board's first page. `parts` says what the
    task's parts are. If they are "data sets", Demsar's tests compare the methods (ebbench/board/across.py).
    `words` says how pages write metrics' names, or parts of them. `pictures` says what the pictures show of a
    kind, which is the end of their names ("landscape" of "swissroll-landscape").
    """

    headline: Literal["smoke", "cpu", "paper"] = "cpu"
    parts: Literal["", "data sets"] = ""
    words: dict[str, _Text] = Field(default_factory=dict)
    pictures: dict[str, _Text] = Field(default_factory=dict)


class ModelCard(Card):
    """A model's card.

    `budgets[budget][task or "default"]` has values of `Config`, and a table of knobs for each sampler by its
    name. It may also have `minutes`: how long the training took on the machine that `measured_on` names. This
    limits nothing. `samplers[sampler][protocol]` has the knobs of a sampler for a protocol. `score` is the
    declared score for tasks that ask for an energy, and `scores[task][protocol]` that for one protocol only.
    `families` are the kinds of method that it belongs to, by which a task's page filters its rows.
    """

    kind: Literal["model", "control"] = "model"
    families: tuple[Family, ...] = ()
    measured_on: _Text = ""
    budgets: Budgets = Field(default_factory=dict)
    variants: dict[str, Variant] = Field(default_factory=dict)
    samplers: dict[str, dict[str, dict[str, Any]]] = Field(default_factory=dict)
    score: str = ""
    scores: dict[str, dict[str, str]] = Field(default_factory=dict)

    @field_validator("variants")
    @classmethod
    def _named(cls, variants: dict[str, Variant]) -> dict[str, Variant]:
        for name in variants:
            if not re.fullmatch(_VARIANT, name) or len(name) > MOST_NAME:
                raise ValueError(
                    f"'{name}' is not a name: use letters, digits, '.', '_', '+' and '-', at most {MOST_NAME}"
                )
        return variants


def declared_score(card: ModelCard, task: str, protocol: str, variant: str = "") -> str:
    """The score that a card declares: that of the variant, else the protocol, else the model; or ""."""
    own = card.variants[variant].score if variant in card.variants else ""
    return own or card.scores.get(task, {}).get(protocol, "") or card.score


def read_toml(content: bytes) -> dict[str, Any]:
    """Parse a TOML file. It may begin with a byte order mark, which some editors write.

    Raises ValueError for invalid TOML. The error names the line if there is one.
    """
    try:
        return tomllib.loads(content.decode("utf-8-sig"))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def read_card(kind: Literal["model", "task"], content: bytes, *, of: str, where: str) -> ModelCard | TaskCard:
    """Read the card of the plug-in `of`. Raises PluginError, which names the field, if it is invalid."""
    schema = ModelCard if kind == "model" else TaskCard
    try:
        table = read_toml(content)
    except ValueError as error:
        raise PluginError(
            f"the card of {kind} '{of}' cannot be read: {error}",
            where=where,
            expected="a TOML file with at least name and title",
            fix="see docs/files.md",
        ) from error
    try:
        return schema.model_validate(table)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise PluginError(
            f"the card of {kind} '{of}' is wrong at '{field}': {first['msg']}",
            where=where,
            expected="the fields " + ", ".join(schema.model_fields),
            fix=f"correct '{field}' in card.toml",
        ) from error
