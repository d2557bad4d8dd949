"""Texts as one may publish them: without paths, user names or host names."""

from __future__ import annotations

import getpass
import os
import re
import socket
from contextlib import suppress
from pathlib import Path

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
