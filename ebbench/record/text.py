"""Texts that may come from strangers: what a result may hold, and what a terminal or a page is given."""

from __future__ import annotations

import re

# Control characters move a terminal's cursor, line separators end a comment, halves of surrogate pairs
# cannot be written, and characters that set the direction of writing make a text read as another.
_HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def fault(text: str, most: int) -> str:
    """What keeps `text` out of a record, as the end of a sentence; "" where nothing does.

    A text of a record is one line of at most `most` characters.
    """
    if len(text) > most:
        return f"has {len(text):,} characters, and at most {most:,} are allowed"
    if found := _HIDDEN.search(text):
        kind = "surrogate" if found[0] >= "\ud800" else "control or bidirectional character"
        return f"holds the {kind} U+{ord(found[0]):04X} at position {found.start()}"
    return ""


def one_line(text: str) -> str:
    """`text` on one line: runs of space become one space, other characters that do not show become "?"."""
    return _HIDDEN.sub("?", " ".join(text.split()))


def visible(text: str) -> str:
    """`text` with its lines and spaces; other characters that do not show become "?"."""
    return "\n".join(_HIDDEN.sub("?", line.replace("\t", " ")) for line in text.split("\n"))


def shortened(text: str, most: int) -> str:
    """`text` on one line, its end cut off where it has more than `most` characters."""
    text = one_line(text)
    return text if len(text) <= most else text[: most - 1] + "…"
