"""Names that read like another's: MEG in other letters, in another case, with marks and blanks between."""

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
    """What a text looks like: two texts of one skeleton can be taken for each other."""
    # Compatibility forms (full width, mathematical), accents and case do not tell names apart.
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    letters = (_CONFUSED.get(letter, letter) for letter in plain)
    return "".join(letter for letter in letters if letter.isalnum())
