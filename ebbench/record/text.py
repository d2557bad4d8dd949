"""Untrusted text: what a result may hold, and what is safe for a terminal or a page."""

from __future__ import annotations

import re

# Control characters move a terminal's cursor, line separators end a comment, halves of surrogate pairs cannot
# be written, and bidirectional controls make a text look like another one.
_HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def fault(text: str, most: int) -> str:
    """Why `text` may not be in a record, as the end of a sentence; "" if it may.

    The text of a record is one line of at most `most` characters.
    """
    if len(text) > most:
        return f"has {len(text):,} characters, and at most {most:,} are allowed"
    if found := _HIDDEN.search(text):
        kind = "surrogate" if found[0] >= "\ud800" else "control or bidirectional character"
        return f"holds the {kind} U+{ord(found[0]):04X} at position {found.start()}"
    return ""


def one_line(text: str) -> str:
    """`text` on one line: runs of white space become one space, other invisible characters "?"."""
    return _HIDDEN.sub("?", " ".join(text.split()))


def visible(text: str) -> str:
    """`text` with its lines and spaces; other invisible characters become "?"."""
    return "\n".join(_HIDDEN.sub("?", line.replace("\t", " ")) for line in text.split("\n"))


def shortened(text: str, most: int) -> str:
    """`text` on one line, truncated to `most` characters."""
    text = one_line(text)
    return text if len(text) <= most else text[: most - 1] + "…"
