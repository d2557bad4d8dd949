"""Photograph the site of the committed results for the README.

    python scripts/screenshots.py [--results results] [--out docs/screenshots]

Needs the development extras and a chromium.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

from ebbench.site.build import build
from playwright.sync_api import sync_playwright

# Name, page, width and height in CSS pixels.
PAGES = (
    ("home", "index.html", 1100, 900),
    ("task", "tasks/stackedmnist.html", 1100, 900),
    ("method", "methods/meg.html", 1100, 900),
    ("phone", "tasks/kdd99.html", 390, 760),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--out", type=Path, default=Path("docs/screenshots"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as p:
        site = Path(folder) / "site"
        build(arguments.results, site)
        browser = p.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for name, path, width, height in PAGES:
            page = browser.new_page(viewport={"width": width, "height": height})
            page.goto(f"file://{site / path}")
            page.screenshot(path=arguments.out / f"{name}.png")
            print(arguments.out / f"{name}.png")
        browser.close()


if __name__ == "__main__":
    main()
