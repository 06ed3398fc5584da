"""A real Chromium that looks at a page: what it complains of, what overflows, what cannot be read, how it looks."""

import atexit
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

ARTIFACTS = Path(os.environ.get("CIFAKE_TUNE_ARTIFACTS", Path(__file__).parents[1] / "artifacts"))
"""Screenshots lie here for whoever wants to look; git ignores them."""
NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run")
START_S = 60.0

CONTRAST = Path(__file__).with_name("contrast.js").read_text(encoding="utf-8")

Scheme = Literal["light", "dark"]


@contextmanager
def chromium() -> Iterator[Browser]:
    """Connect to the session's headless Chromium; skip the test where there is none."""
    address = _running_chromium()
    with sync_playwright() as playwright:  # no longer than it is needed: with it, no other event loop can run
        browser = playwright.chromium.connect_over_cdp(address)
        try:
            yield browser
        finally:
            browser.close()  # the connection and its windows


@cache
def _running_chromium() -> str:
    """Start a Chromium that ends with this process, and return the address of its debugger."""
    program = next((path for name in NAMES if (path := shutil.which(name))), None)
    if program is None:
        pytest.skip(f"no Chromium is installed ({', '.join(NAMES)}); on Debian: apt-get install chromium")
    profile = tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
    command = [program, *ARGUMENTS, "--remote-debugging-port=0", f"--user-data-dir={profile.name}"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    atexit.register(profile.cleanup)
    atexit.register(process.wait)
    atexit.register(process.kill)  # the last registered is the first called
    file, deadline = Path(profile.name) / "DevToolsActivePort", time.monotonic() + START_S
    while not (file.exists() and (written := file.read_text()).count("\n") == 1):
        assert process.poll() is None, f"{program} ended with exit code {process.returncode}"
        assert time.monotonic() < deadline, f"{program} opens no debugger within {START_S:g} s"
        time.sleep(0.02)
    return f"http://127.0.0.1:{written.splitlines()[0]}"


@dataclass
class OpenPage:
    """A page as a browser shows it, and what the browser said of it."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    """Errors and warnings of the console, and exceptions."""
    requests: list[str] = field(default_factory=list)
    """Addresses that it asked for, itself included."""

    def overflow_px(self) -> int:
        """By how much the page is wider than its window."""
        width: int = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        return width

    def hard_to_read(self) -> list[dict[str, Any]]:
        """Return texts whose contrast is below WCAG 2.2's AA: 4.5, or 3 where they are large."""
        texts: list[dict[str, Any]] = self.page.evaluate(CONTRAST)
        return texts

    def screenshot(self, name: str) -> Path:
        """Write the whole page to the artifacts as `name`.png."""
        ARTIFACTS.mkdir(parents=True, exist_ok=True)
        path = ARTIFACTS / f"{name}.png"
        self.page.screenshot(path=path, full_page=True)
        return path

    def pdf(self, name: str) -> Path:
        """Print the page to the artifacts as `name`.pdf."""
        ARTIFACTS.mkdir(parents=True, exist_ok=True)
        path = ARTIFACTS / f"{name}.pdf"
        self.page.pdf(path=path, format="A4", print_background=True)
        return path


@contextmanager
def open_page(browser: Browser, url: str, width: int = 1200, scheme: Scheme = "light") -> Iterator[OpenPage]:
    """Open `url` in a window of this width, in CSS pixels, and wait until all of it is loaded."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    try:
        page = context.new_page()
        view = OpenPage(page)
        page.on(
            "console",
            lambda message: view.complaints.append(message.text) if message.type in ("error", "warning") else None,
        )
        page.on("pageerror", lambda error: view.complaints.append(str(error)))
        page.on("request", lambda request: view.requests.append(request.url))
        page.goto(url, wait_until="load")
        yield view
    finally:
        context.close()
