"""Chromium, with pages that record whatever goes wrong in them."""

import os
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = os.environ.get("TUNEBENCH_TEST_CHROMIUM", "/usr/bin/chromium")
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_MILLISECONDS = 60_000  # plotly.js alone takes seconds while other tests use the processors
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
WIDEST = """
window.widest = 0;
const measure = () => {
  const root = document.documentElement;
  if (root) window.widest = Math.max(window.widest, root.scrollWidth - root.clientWidth);
};
const everyFrame = () => {
  measure();
  setTimeout(measure);  // the frame as it was shown
  requestAnimationFrame(everyFrame);
};
everyFrame();
"""
FOREIGN = """
addEventListener("securitypolicyviolation", (event) =>
  console.error(`policy: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`));
"""


@contextmanager
def chromium() -> Iterator[Any]:
    if not Path(CHROMIUM).exists():
        pytest.skip(f"there is no Chromium at {CHROMIUM} (TUNEBENCH_TEST_CHROMIUM)")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


class Window:
    """New tabs, one after another. A tab that stays opens them, so they share a process and compile plotly.js once.

    Only pages of the service at `base_url` share it: Chromium gives any other page its own process.
    """

    def __init__(self, browser: Any, base_url: str, **context: Any) -> None:
        self.context = browser.new_context(base_url=base_url, **context)
        self.context.set_default_timeout(PATIENCE_MILLISECONDS)
        self.context.add_init_script(FOREIGN)
        self._host = urlsplit(base_url).netloc
        self._stays = self.context.new_page()
        self._stays.goto("/healthz")

    @contextmanager
    def tab(self) -> Iterator["Watched"]:
        with self.context.expect_page() as opened:
            self._stays.evaluate("void window.open('')")
        try:
            yield Watched(self.context, opened.value, self._host)
        finally:
            opened.value.close()
            self.context.clear_cookies()

    def close(self) -> None:
        self.context.close()


@contextmanager
def alone(browser: Any, base_url: str, **context: Any) -> Iterator["Watched"]:
    """Yield a tab in its own window."""
    with closing(Window(browser, base_url, **context)) as window, window.tab() as tab:
        yield tab


class Watched:
    """A page, and what went wrong in it: `faults` of scripts and the page's policy, `elsewhere` the foreign URLs."""

    def __init__(self, context: Any, page: Any, host: str) -> None:
        self.context, self.page = context, page
        self.faults: list[str] = []
        self.elsewhere: list[str] = []
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.faults.append(f"{error}\n{error.stack}"))
        self.page.on("request", lambda request: self._asked(request.url, host))

    def _said(self, message: Any) -> None:
        if message.type == "error":
            self.faults.append(f"{message.text} {message.location.get('url')}")

    def _asked(self, url: str, host: str) -> None:
        if urlsplit(url).scheme not in ("data", "blob") and urlsplit(url).netloc != host:
            self.elsewhere.append(url)

    def marks(self) -> int:
        """Return how many marks are drawn in the figure, for runs and means."""
        return int(self.page.evaluate(f"({MARKS})()"))

    def wait_until(self, condition: str) -> None:
        """Wait until a JavaScript expression is true. Playwright's own wait compiles it, against the page's policy."""
        end = time.monotonic() + PATIENCE_MILLISECONDS / 1000
        while not self.page.evaluate(condition):
            assert time.monotonic() < end, condition
            time.sleep(0.02)

    def wait_for_marks(self, more_than: int) -> None:
        self.wait_until(f"({MARKS})() > {more_than}")

    def wait_for_trials(self, n: int) -> None:
        """Wait until the figure's runs hold exactly `n` trials."""
        self.wait_until(f"({TRIALS})() === {n}")

    def slow(self, bytes_a_second: int) -> None:
        """Give the page a network as slow as a telephone's, and no cache."""
        browser = self.context.new_cdp_session(self.page)
        network = {"downloadThroughput": bytes_a_second, "uploadThroughput": bytes_a_second, "latency": 60}
        browser.send("Network.enable")
        browser.send("Network.setCacheDisabled", {"cacheDisabled": True})
        browser.send("Network.emulateNetworkConditions", {"offline": False, **network})

    def measure_frames(self) -> None:
        """Measure from the next page on, for `widest_overflow`. This keeps a processor busy."""
        self.page.add_init_script(WIDEST)

    def widest_overflow(self) -> int:
        """Return the most pixels by which the page has been wider than the window, in any frame so far."""
        return int(self.page.evaluate("window.widest"))

    def overflow(self) -> int:
        """Return by how many pixels the page is wider than the window."""
        root = "document.documentElement"
        return int(self.page.evaluate(f"{root}.scrollWidth - {root}.clientWidth"))


MARKS = '() => document.querySelectorAll("#chart .scatterlayer .point").length'
TRIALS = """() => (document.getElementById("chart").data ?? [])
  .flatMap((trace) => trace.customdata ?? []).filter((at) => at?.what === "run").length"""
