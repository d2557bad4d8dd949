"""Removes paths, user names and host names from texts that will be published."""

from __future__ import annotations

import getpass
import os
import re
import socket
from contextlib import suppress
from pathlib import Path

# An absolute path: POSIX, "C:\..." or "\\server\...", up to a space, quote or separator. It may follow a
# short flag ("-I/usr"), but must not be inside a relative path.
_ABSOLUTE = re.compile(r"(?:(?<![\w.~*-])|(?<=\B-\w))(?:[A-Za-z]:[\\/]|\\\\|/)[^\s'\",;=:]*")


def scrub(text: str) -> str:
    """`text` without absolute paths, the user's name and the host's name.

    The working directory becomes ".", the home directory "~", and any other absolute path "***/" plus its
    last component. The user's and the host's name become "***" wherever they occur as words.
    """
    return _scrub_names(_ABSOLUTE.sub(lambda found: _last(found[0]), _shorten(text)))


def _shorten(text: str) -> str:
    # Command-line bytes that are not UTF-8 arrive as surrogates, which JSON files cannot hold.
    text = text.encode("utf-8", "replace").decode("utf-8")
    for prefix, short in _prefixes():
        text = re.sub(re.escape(prefix) + r"(?![\w-])", short, text)
    return text


def _last(path: str) -> str:
    name = re.split(r"[/\\]", path.rstrip("/\\"))[-1]
    # Paths often contain names (/home/alice, backup_alice), so here a partial word match is enough.
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
    # Longest first, because the working directory is often inside the home directory.
    return sorted((p for p in places if len(p[0]) > 1), key=lambda place: -len(place[0]))


def _names() -> list[str]:
    host = socket.gethostname()
    found = {host, host.partition(".")[0]}
    found |= {os.environ.get(name, "") for name in ("USER", "LOGNAME", "USERNAME", "SUDO_USER")}
    with suppress(OSError, KeyError, ImportError):  # no such user id, as in some containers
        found.add(getpass.getuser())
    found -= {""}
    return sorted(found, key=lambda name: (-len(name), name))
