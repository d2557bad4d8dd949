"""Detect names that look like another name: MEG in other letters or case, or with marks and blanks in it."""

from __future__ import annotations

import unicodedata

# Letters of other alphabets that look like Latin ones, and digits that look like letters.
_CONFUSED = {
    **dict(zip("авеһікмнорстухьԁɡјӏѕԛԝѵ", "abehikmhopctyxbdgjlsqwv", strict=True)),
    **dict(zip("αβεηικνορτυχγωϲ", "abenikvoptuxywc", strict=True)),
    **dict(zip("01358|!", "oiesbii", strict=True)),
    "ı": "i",
    "l": "i",
    "ł": "i",
    "ø": "o",
    "đ": "d",
}


def skeleton(text: str) -> str:
    """Reduce a text to what it looks like. Texts with the same skeleton can be mistaken for each other."""
    # Compatibility forms (full width, mathematical), accents and case do not distinguish names.
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    letters = (_CONFUSED.get(letter, letter) for letter in plain)
    return "".join(letter for letter in letters if letter.isalnum())
