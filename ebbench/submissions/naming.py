"""Names and titles of submitted models: free ones, which cannot be mistaken for others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ebbench.plugins import loader
from ebbench.plugins.lookalikes import skeleton
from ebbench.record.schema import Result
from ebbench.submissions.bundles import Bundle
from ebbench.submissions.checking import Check


def checks(bundle: Bundle, others: Sequence[Result], code: str, same_author: bool) -> Iterable[Check]:
    """Check whether the model of a bundle may have its name and title.

    `others` are the results on the board, `code` is the hash of the bundle's code.
    """
    name = bundle.card.name
    known = loader.load("model", name) if name in loader.names("model") else None
    taken = known is not None or any(made.model.name == name for made in others)
    yield Check(
        "card.toml",
        "name",
        name,
        "one that is free" if taken and not same_author else name,
        f"'{name}' is taken: choose another, or give --same-author if it is by the same author",
    )
    if name not in loader.built_in("model"):
        here = list(_taken_titles())
        board = [text for made in others if made.model.name != name for text in _called(made)]
        for field, said in (("name", name), ("title", bundle.card.title)):
            if similar := like(said, here):
                cure = f"it looks like '{similar}', which this project has: choose another"
                yield Check("card.toml", field, said, "a different one", cure)
            elif not same_author and (similar := like(said, board)):
                cure = f"it looks like '{similar}' on the board: choose another, or give --same-author"
                yield Check("card.toml", field, said, "a different one", cure)
    if known is not None:
        cure = f"'{name}' is a model of this project with other code: choose another name"
        yield Check("model", "code", code or "none", known.code_hash, cure)


def _called(made: Result) -> tuple[str, str]:
    return made.model.name, made.model.title


def like(said: str, taken: Iterable[str]) -> str:
    """The first of the taken names that can be mistaken for what is said; "" if there is none."""
    return next((other for other in taken if skeleton(other) == skeleton(said)), "")


def _taken_titles() -> Iterator[str]:
    """The names and titles of the project's own models and of their variants."""
    for name in loader.built_in("model"):
        card = loader.load("model", name).card
        yield name
        yield card.title
        yield from (variant.title for variant in card.variants.values() if variant.title)
