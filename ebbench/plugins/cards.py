"""What `card.toml` may say."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

_NAME = r"^[a-z0-9]+(-[a-z0-9]+)*$"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Variant(_Strict):
    """A named configuration of a model: `set` is laid over the values of whichever budget is run.

    Over those lie its own `budgets[budget][task or "default"]`, where nets of another kind need other sizes.
    `score` is its declared score, where that is not the model's.
    """

    summary: str
    set: dict[str, Any] = Field(default_factory=dict)
    budgets: dict[str, dict[str, dict[str, Any]]] = Field(default_factory=dict)
    control: bool = False
    score: str = ""


class Card(_Strict):
    """What `card.toml` may say of a model or a task."""

    name: str = Field(pattern=_NAME)
    title: str
    summary: str = ""
    paper: str = ""
    authors: str = ""
    year: int | None = None
    url: str = ""


class TaskCard(Card):
    """A task's card."""


class ModelCard(Card):
    """A model's card.

    `budgets[budget][task or "default"]` are values of `Config`; `minutes`, the wall-clock limit of the
    training; and tables of a sampler's knobs by its name. `samplers[sampler][protocol]` are a sampler's
    knobs under that protocol. `score` is the declared score for tasks that ask for an energy,
    `scores[task][protocol]` one for a protocol alone.
    """

    kind: Literal["model", "control"] = "model"
    budgets: dict[str, dict[str, dict[str, Any]]] = Field(default_factory=dict)
    variants: dict[str, Variant] = Field(default_factory=dict)
    samplers: dict[str, dict[str, dict[str, Any]]] = Field(default_factory=dict)
    score: str = ""
    scores: dict[str, dict[str, str]] = Field(default_factory=dict)
