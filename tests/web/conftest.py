"""A page in a real browser, in front of a server that does what the test says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from browser_kit import FLAGS, OpenPage, record_bursts
from fake_server import FakeServer, fake_server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

USUAL: dict[str, Any] = {"permissions": ["microphone"], "viewport": {"width": 1200, "height": 900}}


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with fake_server() as running:
        yield running
        print(running.story())  # noqa: T201 - shown beside a failure only


@pytest.fixture(scope="module")
def browser(chromium_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    # Of the module and not of the session: the blocking API keeps an asyncio loop on this thread for as long as it lives.
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=15_000)
    flags = [
        *FLAGS,
        record_bursts(tmp_path_factory.mktemp("microphone") / "bursts.wav"),
        "--host-resolver-rules=MAP insecure.test 127.0.0.1",
    ]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(chromium_path), args=flags)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def usual_context(browser: Browser) -> Iterator[BrowserContext]:
    """For every page that wants nothing special. In it a page stands by and does nothing.

    As long as that is open, the others of its site are opened in its process, which takes less than half the time. They share
    nothing else: each has a server, and with it an origin, of its own.
    """
    context = browser.new_context(**USUAL)
    with fake_server() as idle:
        context.new_page().goto(idle.url)
        yield context
        context.close()


@pytest.fixture
def open_page(browser: Browser, usual_context: BrowserContext, server: FakeServer) -> Iterator[OpenPage]:
    """Open the page, in a context of its own if it wants ``options``; whatever the browser complains of fails the test.

    ``complaints``: substrings of those that the test provokes. ``apart``: the test changes the context.
    """
    opened: list[Page | BrowserContext] = []
    unexpected: list[str] = []

    def open_it(
        url: str | None = None,
        *,
        complaints: tuple[str, ...] = (),
        script: str = "",
        apart: bool = False,
        **options: Any,
    ) -> Page:
        context = browser.new_context(**USUAL | options) if apart or options else usual_context
        page = context.new_page()
        opened.append(page if context is usual_context else context)

        def complain(text: str) -> None:
            if not any(each in text for each in complaints):
                unexpected.append(text)

        def watch(request: Any) -> None:
            if not request.url.startswith((server.url, f"http://insecure.test:{server.port}/")):
                complain(f"request to {request.url}")

        page.on("console", lambda message: complain(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complain(str(error)))
        page.on("request", watch)
        page.add_init_script(
            "addEventListener('securitypolicyviolation', (e) => console.error('CSP', e.violatedDirective, e.blockedURI));"
            + script
        )
        page.set_default_timeout(15_000)
        page.goto(url or server.url)
        return page

    yield open_it
    for each in opened:
        each.close()
    assert unexpected == []
