"""Downloads one file from one address into the cache, using pooch."""

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

# Timeouts in seconds for connecting to a mirror, and for waiting for its next bytes.
TIMEOUT = (6.0, 20.0)

# Number of retries of an interrupted transfer.
RETRIES = 2

BLOCK = 1 << 16


class Failed(Exception):
    """A mirror has no valid copy or cannot be reached; the message says which, for the user."""


def download(address: str, target: Path, content: Content, title: str) -> None:
    """Download `address` to `target` and verify it; `title` names the file in the progress display.

    An interrupted transfer or a busy server is retried; an unreachable server is not. Raises `Failed` if the
    mirror does not deliver what `content` requires, and `StorageError` if the cache cannot be written.
    """
    # Imported here, because it takes a quarter of a second and only downloads need it.
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
    """What pooch calls for each attempt: its own HTTP transfer, limited to the expected size."""

    def __init__(self, content: Content, title: str) -> None:
        self.content, self.title = content, title

    def __call__(self, url: str, output_file: str, pooch: object) -> None:
        import requests
        from pooch import HTTPDownloader

        answers: list[requests.Response] = []
        transfer = HTTPDownloader(
            chunk_size=BLOCK,
            timeout=TIMEOUT,
            # Without content encoding: a server may otherwise compress the bytes again.
            headers={"User-Agent": "ebbench", "Accept-Encoding": "identity"},
            # Pooch leaves the connection open if a transfer ends early.
            hooks={"response": lambda answer, **_: answers.append(answer)},
        )
        host = url.split("/")[2]
        with opened(Path(output_file)) as file, _Sink(file, self.content, self.title, host) as sink:
            try:
                transfer(url, sink, None)
            except requests.RequestException as error:
                status = error.response.status_code if error.response is not None else 0
                # Pooch retries these. For other errors the next mirror is the better option.
                if sink.size or status >= 500 or status == 429:
                    raise
                raise Failed(_reason(error)) from error
            finally:
                for answer in answers:
                    answer.close()


class _Sink:
    """A file that accepts no more bytes than expected and shows progress on a terminal."""

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
        # One byte too many shows that it is another file (a provider's log-in page, say).
        if self.size > self.content.size:
            raise Failed(f"found more than {self.content.size:,} bytes, expected {self.content.size:,}")
        write(self.file, block)
        if self.bar is not None:
            self.bar.advance(self.task, len(block))

    def flush(self) -> None:
        """Does nothing: writes are unbuffered, but pooch calls this after each block."""

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
    """Why a request failed, in one line: urllib3's own reason if requests only wraps it."""
    if error.response is not None:
        return f"{error.response.status_code} {error.response.reason}"
    inner = error.args[0] if error.args else error
    reason = str(getattr(inner, "reason", None) or inner)
    # Without "HTTPSConnection(host='...', port=443): ", since the message already names the host.
    return reason.partition("): ")[2] or reason
