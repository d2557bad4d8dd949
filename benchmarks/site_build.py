"""Measure how long a build of the site takes with many results.

    python benchmarks/site_build.py [--results 5000] [--from results]

The results are copies of the committed ones without pictures, each with its own run id and settings.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

from ebbench.site.build import build

from ebbench.record.resultfiles import result_files


def copies(source: Path, folder: Path, n: int) -> None:
    """Write `n` results to `folder`: copies of those of `source` in turn, each copy with its own setting."""
    texts = [(path, json.loads(path.read_text(encoding="utf-8"))) for path in result_files(source)]
    for i in range(n):
        path, raw = texts[i % len(texts)]
        lap = i // len(texts)
        made = raw | {"run_id": f"{path.stem}-{lap}", "pictures": {}}
        if lap:
            made["overrides"] = raw["overrides"] | {"copy": lap}
        target = folder / path.parent.relative_to(source) / f"{made['run_id']}.json"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(made), encoding="utf-8")


def processor_time() -> float:
    """The processor seconds of this process and of the processes that it started."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=int, default=5000)
    parser.add_argument("--from", dest="source", type=Path, default=Path("results"))
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        copies(asked.source, Path(made) / "results", asked.results)
        began, before = time.perf_counter(), processor_time()
        build(Path(made) / "results", Path(made) / "site")
        wall, spent = time.perf_counter() - began, processor_time() - before
    print(f"{asked.results} results: {wall:.1f} s by the clock, {spent:.1f} s of processor time")


if __name__ == "__main__":
    main()
