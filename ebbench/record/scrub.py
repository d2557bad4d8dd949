"""Texts as one may publish them: without paths, user names or host names."""

from __future__ import annotations

import getpass
import os
import re
import shlex
import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass


def scrub_command(command: str | Sequence[str]) -> str:
    """A command line as one may publish it.

    Of words, the program keeps its base name only, and a word that is a path as a whole
    ("--out=/a b/c" too) may hold spaces.
    """
    if isinstance(command, str):
        return scrub(command)
    if not command:
        return ""
    first, *rest = command
    program = re.split(r"[/\\]", first)[-1]
    return " ".join([_quote(scrub(program)), *(_quote(_scrub_word(word)) for word in rest)])


def _scrub_word(word: str) -> str:
    word = _shorten(word)
    flag, equals, value = word.partition("=")
    if _is_absolute(value):
        word = flag + equals + _last(value)
    elif _is_absolute(word):
        word = _last(word)
    return scrub(word)


def _quote(word: str) -> str:
    # "~" and "***" are ours and would be quoted for nothing.
    return word if re.fullmatch(r"[\w@%+=:,./~*-]+", word) else shlex.quote(word)


# An absolute path: POSIX, "C:\..." or "\\server\...", up to a space, quote or separator; not the
# inside of a relative one, but what follows a short flag ("-I/usr").
_ABSOLUTE = re.compile(r"(?:(?<![\w.~*-])|(?<=\B-\w))(?:[A-Za-z]:[\\/]|\\\\|/)[^\s'\",;=:]*")


def scrub(text: str) -> str:
    """`text` without absolute paths, the user's name or the host's.

    The working directory becomes ".", the home directory "~", any other absolute path "***/" and
    its last component; the user's and the host's name become "***" wherever they stand as words.
    """
    return _scrub_names(_ABSOLUTE.sub(lambda found: _last(found[0]), _shorten(text)))


def _shorten(text: str) -> str:
    # Bytes of the command line that are no UTF-8 arrive as surrogates, which no JSON file can hold.
    text = text.encode("utf-8", "replace").decode("utf-8")
    for prefix, short in _prefixes():
        text = re.sub(re.escape(prefix) + r"(?![\w-])", short, text)
    return text


def _is_absolute(text: str) -> bool:
    return text.startswith(("/", "\\\\")) or re.match(r"[A-Za-z]:[\\/]", text) is not None


def _last(path: str) -> str:
    name = re.split(r"[/\\]", path.rstrip("/\\"))[-1]
    # Paths are full of names (/home/alice, backup_alice): here a part of a word is enough.
    told = any(word.lower() in name.lower() for word in _names())
    return "***" if told or not name or name.endswith(":") else f"***/{name}"


def _scrub_names(text: str) -> str:
    for name in _names():
        whole = rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])"
        text = re.sub(whole, "***", text, flags=re.IGNORECASE)
    return text


def _prefixes() -> list[tuple[str, str]]:
    places = [(str(Path.cwd()), "."), (os.environ.get("PWD", ""), ".")]
    try:
        home = str(Path.home())
    except RuntimeError:
        home = ""
    places += [(home, "~"), (os.path.realpath(home) if home else "", "~")]
    # Longest first: the working directory is often inside the home directory.
    return sorted((p for p in places if len(p[0]) > 1), key=lambda place: -len(place[0]))


def _names() -> list[str]:
    host = socket.gethostname()
    found = {host, host.partition(".")[0]}
    found |= {os.environ.get(name, "") for name in ("USER", "LOGNAME", "USERNAME", "SUDO_USER")}
    with suppress(OSError, KeyError, ImportError):  # no such user id, as in some containers
        found.add(getpass.getuser())
    found -= {""}
    return sorted(found, key=lambda name: (-len(name), name))
