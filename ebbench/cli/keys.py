"""`ebbench keys`: the key that a maintainer signs with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="The keys that verifications are signed with.")


@app.callback()
def _keys() -> None:
    """The keys that verifications are signed with."""


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="The maintainer's name, as results will show it.")],
    out: Annotated[Path, typer.Option(help="The file for the private key; keep it secret.")],
    add: Annotated[
        Path | None, typer.Option(help="A file of maintainers; the public key is added to it.")
    ] = None,
) -> None:
    """Make a key pair: the private key goes to a file, the public key is printed for maintainers.toml."""
    from ebbench.errors import UsageError
    from ebbench.record import signing
    from ebbench.record.text import fault
    from ebbench.storage.files import absolute

    if not name.strip() or '"' in name or "\\" in name or fault(name, 100):
        raise UsageError(
            f"{name!r} cannot be a maintainer's name",
            where="NAME",
            expected="one line of at most 100 characters, without quotes",
        )
    private = absolute(out, "--out")
    entry = signing.make(name, private, absolute(add, "--add") if add else None)
    typer.echo(entry, nl=False)
    where = f"the lines above are in {add}; set {signing.MORE} to that file"
    if add is None:
        where = f"add the lines above to {signing.MAINTAINERS.name}, or to a file that {signing.MORE} names"
    typer.echo(f"the private key is in {out}; {where}", err=True)
