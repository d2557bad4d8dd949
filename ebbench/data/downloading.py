"""One file from one address into the cache, by way of pooch."""

from __future__ import annotations

import sys
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ebbench.data.cache import arriving, opened, place, unwritable, write
from ebbench.data.checking import check
from ebbench.data.registry import Content

if TYPE_CHECKING:
    import requests

# Seconds until a mirror that does not take the connection, or then sends nothing, is given up.
TIMEOUT = (6.0, 20.0)

# How often a transfer that broke off is begun again.
RETRIES = 2

BLOCK = 1 << 16


class Failed(Exception):
    """A mirror has no good copy or is out of reach; the message says which, for the user."""


def download(address: str, target: Path, content: Content, title: str) -> None:
    """Fetch `address` to `target`, verified; `title` names the file where its progress is shown.

    A transfer that breaks off, or a server that is busy, is tried again; what cannot be reached is not.
    Raises `Failed` where the mirror does not give what `content` says, `StorageError` for a cache that
    cannot be written.
    """
    # A quarter of a second, and only where something is downloaded.
    import pooch
    import requests

    pooch.get_logger().setLevel("WARNING")
    with arriving(target) as part:
        manager = pooch.create(
            path=part.parent,
            base_url="",
            registry={part.name: None},
            urls={part.name: address},
            retry_if_failed=RETRIES,
        )
        try:
            manager.fetch(part.name, downloader=_Transfer(content, title))
        except requests.RequestException as error:
            raise Failed(_reason(error)) from error
        except OSError as error:
            raise unwritable(target.parent, error) from error
        if problem := check(part, content):
            raise Failed(problem)
        place(part, target)


class _Transfer:
    """What pooch calls for each attempt: its own transfer by HTTP, held to the size that is expected."""

    def __init__(self, content: Content, title: str) -> None:
        self.content, self.title = content, title

    def __call__(self, url: str, output_file: str, pooch: object) -> None:
        import requests
        from pooch import HTTPDownloader

        answers: list[requests.Response] = []
        transfer = HTTPDownloader(
            chunk_size=BLOCK,
            timeout=TIMEOUT,
            # The bytes as they are: a server may otherwise pack them once more for the way.
            headers={"User-Agent": "ebbench", "Accept-Encoding": "identity"},
            # Pooch leaves the connection open where a transfer ends early.
            hooks={"response": lambda answer, **_: answers.append(answer)},
        )
        host = url.split("/")[2]
        with opened(Path(output_file)) as file, _Sink(file, self.content, self.title, host) as sink:
            try:
                transfer(url, sink, None)
            except requests.RequestException as error:
                status = error.response.status_code if error.response is not None else 0
                # Pooch tries these again. The others stay as they are: the next mirror is the better try.
                if sink.size or status >= 500 or status == 429:
                    raise
                raise Failed(_reason(error)) from error
            finally:
                for answer in answers:
                    answer.close()


class _Sink:
    """A file that takes no more bytes than are expected, and says how far it is on a terminal."""

    def __init__(self, file: FileIO, content: Content, title: str, host: str) -> None:
        self.file, self.content, self.size = file, content, 0
        self.said = f"{title} ({content.size:,} bytes) from {host}"
        self.bar: Any = None

    def __enter__(self) -> _Sink:
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def write(self, block: bytes) -> None:
        if not self.size:
            self._begin()
        self.size += len(block)
        # One byte too many is enough to see that it is another file (a provider's log-in page).
        if self.size > self.content.size:
            raise Failed(f"found more than {self.content.size:,} bytes, expected {self.content.size:,}")
        write(self.file, block)
        if self.bar is not None:
            self.bar.advance(self.task, len(block))

    def flush(self) -> None:
        """Nothing is left to flush; pooch asks for it after each block."""

    def _begin(self) -> None:
        print(f"downloading {self.said}", file=sys.stderr, flush=True)
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

            columns = (BarColumn(), DownloadColumn(), TimeRemainingColumn())
            self.bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self.task = self.bar.add_task("", total=self.content.size)
            self.bar.start()


def _reason(error: requests.RequestException) -> str:
    """Why a request failed, in one line: urllib3's own reason where requests only wraps it."""
    if error.response is not None:
        return f"{error.response.status_code} {error.response.reason}"
    inner = error.args[0] if error.args else error
    reason = str(getattr(inner, "reason", None) or inner)
    # Without "HTTPSConnection(host='...', port=443): ": the message has the host already.
    return reason.partition("): ")[2] or reason
