"""The browser of the tests that need one: an installed Chromium or Chrome, or Playwright's own."""

import contextlib
import os
import shutil
from collections.abc import Iterator

from playwright.sync_api import Browser, sync_playwright

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@contextlib.contextmanager
def launched_chromium() -> Iterator[Browser]:
    """Launch it, and close it at the end."""
    names = ("chromium", "chromium-browser", "google-chrome")
    paths = [os.environ.get("GROUPCAM_CHROMIUM"), *map(shutil.which, names)]
    path = next((path for path in paths if path), None)  # None: Playwright's own
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()
