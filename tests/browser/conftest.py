"""Fixtures of the browser tests. One Chromium, one JupyterLab and one marimo serve all tests of a process."""

from pathlib import Path

import pytest

from tests.browser import chromium
from tests.browser.axe import violations
from tests.browser.bare import BarePage
from tests.browser.lab import KernelErrors, start_lab
from tests.browser.marimo_server import start_marimo

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items):
    """Refuse a file whose name would give it a JupyterLab of its own (see `tests/conftest.py`)."""
    for item in items:
        needs_lab = "lab" in getattr(item, "fixturenames", ())
        if HERE in item.path.parents and needs_lab and not item.path.name.startswith("test_lab"):
            raise pytest.UsageError(f"{item.nodeid} uses JupyterLab: name its file test_lab_*.py")


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium; the test is skipped where there is none."""
    if chromium.find() is None:
        pytest.skip(chromium.MISSING)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = chromium.launch(playwright)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def context(browser):
    """One browser context for all pages: they share a cache."""
    context = browser.new_context(
        viewport={"width": 1280, "height": 1000}, device_scale_factor=1, reduced_motion="reduce"
    )
    context.set_default_timeout(30_000)
    yield context
    context.close()


@pytest.fixture(scope="session")
def new_page(context):
    """Call it for a page that outlives a test, and close it yourself: `new_page()`, then `page.close()`."""
    return lambda: chromium.watch(context.new_page())


@pytest.fixture
def page(new_page):
    """A page of this test's own. A script error in it fails the test: `page.js_errors.clear()` says it was expected."""
    page = new_page()
    yield page
    js_errors = list(page.js_errors)
    page.close()
    assert not js_errors, js_errors


@pytest.fixture(scope="session")
def lab(browser, tmp_path_factory):
    """A running JupyterLab (`tests.browser.lab.Lab`)."""
    with start_lab(tmp_path_factory.mktemp("lab")) as lab:
        yield lab


@pytest.fixture
def kernel_errors(lab):
    """Call it for the text of what handlers and threads raised in kernels since the test began."""
    return KernelErrors(lab)


@pytest.fixture(scope="session")
def lab_page(lab, new_page):
    """The page of JupyterLab in which `notebook` opens its tabs: loading it takes longer than most tests."""
    page = new_page()
    yield page
    page.close()


@pytest.fixture
def notebook(lab, lab_page, kernel_errors):
    """Call it with cells for a notebook that has run: `notebook([cell, ...])` (`tests.browser.lab.Notebook`).

    A script error, or an error in a handler or a thread of the kernel, fails the test; `page.js_errors.clear()` and
    `kernel_errors.forget()` say that it was expected. Afterwards its kernel is ended.
    """
    opened = []

    def open_notebook(cells, **how):
        opened.append(lab.open(lab_page, cells, **how))
        return opened[-1]

    lab_page.js_errors.clear()
    lab_page.outside.clear()
    yield open_notebook
    for one in opened:
        one.close()
    assert not lab_page.js_errors, lab_page.js_errors
    assert not kernel_errors(), kernel_errors()


@pytest.fixture(scope="session")
def marimo(browser, tmp_path_factory):
    """A running marimo editor (`tests.browser.marimo_server.Marimo`)."""
    with start_marimo(tmp_path_factory.mktemp("marimo")) as marimo:
        yield marimo


@pytest.fixture
def bare(page):
    """A blank page on which a front-end module is put, without a notebook (`tests.browser.bare.BarePage`)."""
    bare = BarePage(page)
    yield bare
    assert not bare.errors, bare.errors


@pytest.fixture
def explore(page):
    """Call it for an explorer on a bare page: `explore(panel, model, feedback)` (`ExplorerPage`), closed afterwards."""
    from tests.browser.explorer_page import ExplorerPage  # here: it needs torch

    opened = []

    def open_page(*args, **how):
        opened.append(ExplorerPage(page, *args, **how))
        return opened[-1]

    yield open_page
    for one in opened:
        one.close()


@pytest.fixture
def log(tmp_path):
    """A log of feedback in a directory of its own."""
    import workbench as wb

    return wb.Feedback(tmp_path / "feedback.db", author="ada")


@pytest.fixture
def axe():
    """Call it for the serious violations of accessibility under a selector: `axe(page, ".wb-explorer") == []`."""
    return violations


@pytest.fixture(autouse=True)
def _pictures(tmp_path):
    """Gives every test the directory into which a picture goes when it fails."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    used = getattr(item, "funcargs", None) or {}
    if report.failed and report.when == "call" and "context" in used:
        for number, page in enumerate(used["context"].pages):
            report.sections += _seen(page, used["tmp_path"] / f"page-{number}.png")
    return report


def _seen(page, picture):
    from playwright.sync_api import Error

    try:
        page.screenshot(path=picture, timeout=5000)
    except Error as gone:
        picture = f"none: {gone}"
    return [
        ("picture", str(picture)),
        ("script errors", "\n".join(page.js_errors)),
        ("console", "\n".join(page.console[-40:])),
    ]
