"""Signatures of verifications: a maintainer signs with a key, and everybody can check it.

Keys are Ed25519 (RFC 8032), from the package `cryptography`, which is loaded only to make or check a
signature. The maintainers' public keys are in `maintainers.toml` beside this module. For a board of your own,
the file named by the environment variable EBBENCH_MAINTAINERS is read as well.
"""

from __future__ import annotations

import base64
import binascii
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ebbench.errors import StorageError, UsageError
from ebbench.storage.files import absolute

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

MAINTAINERS = Path(__file__).with_name("maintainers.toml")
KEY, MORE = "EBBENCH_KEY", "EBBENCH_MAINTAINERS"


@dataclass(frozen=True)
class Key:
    """A private key, and the maintainer's name of its public key."""

    name: str
    private: Ed25519PrivateKey

    def sign(self, message: bytes) -> str:
        """The signature of a message, in base64."""
        return base64.b64encode(self.private.sign(message)).decode()


def make(name: str, out: Path, maintainers: Path | None = None) -> str:
    """Write a new private key to the file `out`, readable by its owner only.

    Returns its entry for maintainers.toml, which is also appended to the file `maintainers` if given. Raises
    UsageError if `out` already exists, and StorageError if a file cannot be written.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private = Ed25519PrivateKey.generate()
    text = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    entry = f'[[maintainer]]\nname = "{name}"\npublic = "{_public(private)}"\n'
    try:
        # Created with these permissions, so that others cannot read it even for a moment.
        with os.fdopen(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as secret:
            secret.write(text)
        if maintainers is not None:
            with maintainers.open("a", encoding="utf-8") as file:
                file.write(entry)
    except FileExistsError as error:
        raise UsageError(
            f"{out} exists already",
            where="--out",
            expected="a file that does not exist yet",
            fix="choose another; nothing was written",
        ) from error
    except OSError as error:
        raise StorageError(f"the key cannot be written: {error.strerror or error}", where=str(out)) from error
    return entry


def load(given: Path | None) -> Key | None:
    """The private key in the file `given`, else in the one that EBBENCH_KEY names; None without either.

    Raises UsageError if it is not a key, or its public key is not a maintainer's.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    named = given if given is not None else os.environ.get(KEY)
    if not named:
        return None
    where = "--key" if given is not None else KEY
    path = absolute(os.fspath(named), where)
    try:
        private = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(
            f"the key cannot be read: {error}",
            where=f"{where} {path.name}",
            expected="a file that `ebbench keys new` wrote",
        ) from error
    if isinstance(private, Ed25519PrivateKey):
        for name, public in maintainers().items():
            if public == _public(private):
                return Key(name, private)
    raise UsageError(
        "the key does not belong to a maintainer",
        where=f"{where} {path.name}",
        expected=f"one of {', '.join(sorted(maintainers())) or 'none, since there are no maintainers yet'}",
        fix=f"add its entry to {MAINTAINERS.name}, or to a file that {MORE} names",
    )


def holds(name: str, signature: str, message: bytes) -> bool:
    """Whether `signature` is a valid signature of `message` by the named maintainer."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    public = maintainers().get(name)
    if public is None:
        return False
    try:
        raw, signed = (base64.b64decode(text, validate=True) for text in (public, signature))
        Ed25519PublicKey.from_public_bytes(raw).verify(signed, message)
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def maintainers() -> dict[str, str]:
    """The maintainers' public keys, in base64, by name. Raises UsageError for an invalid file."""
    found = dict(_read(MAINTAINERS))
    if more := os.environ.get(MORE):
        found |= _read(absolute(more, MORE))
    return found


def _read(path: Path) -> dict[str, str]:
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8")).get("maintainer", [])
        return {str(entry["name"]): str(entry["public"]) for entry in entries}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"the maintainers' keys cannot be read: {error}",
            where=str(path.name),
            expected='[[maintainer]] tables with name = "..." and public = "..."',
        ) from error


def _public(private: Ed25519PrivateKey) -> str:
    from cryptography.hazmat.primitives import serialization

    raw = private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return base64.b64encode(raw).decode()
