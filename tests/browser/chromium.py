"""A headless Chromium that finds no host but this machine: what a page needs must come from our servers."""

import shutil
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import pytest

__all__ = ["MISSING", "find", "launch", "watch"]

MISSING = "no Chromium here: run `make browser`"
HERE = ("127.0.0.1", "localhost")

FLAGS = [
    "--no-sandbox",  # Chromium refuses to run as root otherwise
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--disable-extensions",
    "--mute-audio",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--font-render-hinting=none",
    "--host-resolver-rules=MAP * ~NOTFOUND, " + ", ".join(f"EXCLUDE {name}" for name in HERE),
]


@cache
def find():
    """Path of a Chromium: one on PATH, else the one that Playwright installed, else None."""
    for name in ("chromium", "google-chrome"):
        if path := shutil.which(name):
            return path
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if Path(path).exists() else None


def launch(playwright):
    """Start it, or skip the test where there is none."""
    path = find()
    if path is None:
        pytest.skip(MISSING)
    return playwright.chromium.launch(executable_path=path, headless=True, args=FLAGS, chromium_sandbox=False)


def watch(page):
    """Note what goes wrong in a page: `js_errors`, `console` and `outside` are lists of words, in their order.

    `outside` holds the addresses that are not on this machine: none of them could be reached.
    """
    page.js_errors, page.console, page.outside = [], [], []
    page.on("pageerror", lambda error: page.js_errors.append(str(error)))
    page.on("console", lambda message: page.console.append(f"{message.type}: {message.text}"))

    def asked(request):
        address = urlsplit(request.url)
        if address.scheme not in ("data", "blob", "about") and address.hostname not in HERE:
            page.outside.append(request.url)

    page.on("request", asked)
    return page
