"""The page in a real browser against the real server: spoken to through a fake microphone, answered audibly."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import threading
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio
from browser_kit import FLAGS, ask, tone, wait, watch

from flare_actors.agent import Agent
from flare_actors.conversation.settings import Settings
from flare_actors.providers.scripted import (
    EnergyVoiceActivity,
    ScriptedLanguageModel,
    ScriptedRecognizer,
    ScriptedSynthesizer,
)
from flare_actors.server import Server, serve

if TYPE_CHECKING:
    from playwright.sync_api import Page, WebSocketRoute

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra `test`)")
expect = playwright.expect
pytestmark = pytest.mark.needs("chromium")

RATE = 48_000
LOUD = "(await import('/view.js')).levelOf(app.player?.analyser) > -35"
REAL_ENGINES_S = 120  # for a language model on two busy cores
# In short bursts: the browser's noise suppression takes away what lasts.
WHISTLE = (tone(0.15, 500, rate=RATE, level=0.5) + bytes(2 * RATE // 20)) * 5
ANSWER = "This is a long answer, and somebody will not hear all of it. " * 3


def record(path: Path, speech: bytes, *, silence_s: int = 2) -> Path:
    """A microphone that hears nothing for a while, ``speech``, and nothing more."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(bytes(2 * silence_s * RATE) + speech + bytes(2 * 60 * RATE))
    return path


@contextmanager
def open_page(
    chromium: Path, url: str, microphone: Path, *, lose: list[WebSocketRoute] | None = None
) -> Iterator[Page]:
    """The page of a real server, and no complaint of the browser's. ``lose`` gets the WebSockets, to break them."""
    complaints: list[str] = []
    with playwright.sync_playwright() as driver:
        flags = [*FLAGS, f"--use-file-for-fake-audio-capture={microphone}%noloop"]
        browser = driver.chromium.launch(executable_path=str(chromium), args=flags)
        page = browser.new_context(permissions=["microphone"]).new_page()
        page.set_default_timeout(30_000)
        expect.set_options(timeout=30_000)
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        if lose is not None:

            def forward(route: WebSocketRoute) -> None:
                route.connect_to_server()
                lose.append(route)

            page.route_web_socket(re.compile("/flare$"), forward)
        page.goto(url)
        yield page
        browser.close()
    assert complaints == []


@pytest.fixture
def scripted_server() -> Iterator[str]:
    """The real server on a thread of its own, with engines that follow a script; its address."""
    agent = Agent(
        voice_activity=EnergyVoiceActivity(),
        recognizer=ScriptedRecognizer(script=["What do you hear?"], partials=True),
        language_model=ScriptedLanguageModel(script=["I hear a whistle.", ANSWER, "It is over."]),
        synthesizer=ScriptedSynthesizer(),
        settings=Settings(),
    )
    started = threading.Event()
    found: list[Server] = []
    stop: list[Callable[[], None]] = []

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            found.append(await nursery.start(partial(serve, agent, port=0)))
            token = trio.lowlevel.current_trio_token()
            stop.append(partial(trio.from_thread.run_sync, nursery.cancel_scope.cancel, trio_token=token))
            started.set()

    thread = threading.Thread(target=trio.run, args=(main,), name="real server")
    thread.start()
    assert started.wait(15)
    yield found[0].url
    stop[0]()
    thread.join()


def test_speaking_typing_interrupting_and_starting_again(
    scripted_server: str, chromium_path: Path, tmp_path: Path
) -> None:
    with open_page(chromium_path, scripted_server, record(tmp_path / "whistle.wav", WHISTLE)) as page:
        loud = watch(page, LOUD, patience_s=30)
        page.get_by_role("button", name="Start").click()
        expect(page.locator(".entry.user")).to_contain_text("What do you hear?")
        loud()  # for a second
        expect(page.locator(".entry.agent")).to_contain_text("I hear a whistle.")
        expect(page.get_by_role("heading", name="Listening")).to_be_visible()  # it was played, and that was reported
        expect(page.locator("#waterfall .turn")).to_have_count(1)
        expect(page.locator("s.unheard")).to_have_count(0)
        assert ask(page, "await app.player.statistics()")["playedS"] > 0.5

        page.get_by_label("Type instead of speaking").fill("And now?")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="Speaking")).to_be_visible()
        wait(page, LOUD)
        page.wait_for_timeout(1_500)  # somebody listens for a while
        page.get_by_role("button", name="Stop talking").click()
        expect(page.get_by_role("heading", name="Listening")).to_be_visible()
        expect(page.locator("s.unheard")).to_contain_text("hear all of it.")
        expect(page.locator(".heard")).to_contain_text("This is")
        assert ask(page, "await app.player.statistics()")["queuedS"] == 0

        page.get_by_role("button", name="End", exact=True).click()
        expect(page.get_by_role("heading", name="Ready when you are")).to_be_visible()
        page.get_by_role("button", name="Start").click()
        expect(page.get_by_role("heading", name="Listening")).to_be_visible()


def test_the_agent_falls_silent_when_somebody_speaks(scripted_server: str, chromium_path: Path, tmp_path: Path) -> None:
    twice = WHISTLE + bytes(2 * 8 * RATE) + WHISTLE
    with open_page(chromium_path, scripted_server, record(tmp_path / "twice.wav", twice)) as page:
        page.get_by_role("button", name="Start").click()
        expect(page.locator(".entry.agent")).to_contain_text("I hear a whistle.")
        expect(page.get_by_role("heading", name="Listening")).to_be_visible()
        page.get_by_label("Type instead of speaking").fill("Tell me everything.")
        page.keyboard.press("Enter")  # the answer lasts for a dozen seconds, the second whistle comes in the middle
        expect(page.locator(".entry.agent .note").filter(has_text="interrupted")).to_have_count(1)
        expect(page.locator("s.unheard")).to_contain_text("hear all of it.")
        expect(page.locator(".entry.agent").last).to_contain_text("It is over.")


def test_a_lost_connection_is_resumed(scripted_server: str, chromium_path: Path, tmp_path: Path) -> None:
    sockets: list[WebSocketRoute] = []
    with open_page(chromium_path, scripted_server, record(tmp_path / "quiet.wav", b""), lose=sockets) as page:
        page.get_by_role("button", name="Start").click()
        expect(page.get_by_role("heading", name="Listening")).to_be_visible()
        session = ask(page, "app.client.session.session_id")
        lost = watch(page, "document.getElementById('state-title').textContent === 'Not connected'")
        sockets[0].close(code=1011)
        lost()  # for half a second
        expect(page.get_by_role("heading", name="Listening")).to_be_visible()
        assert len(sockets) == 2
        assert ask(page, "app.client.session.session_id") == session
        page.get_by_label("Type instead of speaking").fill("Are you there?")
        page.keyboard.press("Enter")
        expect(page.locator(".entry.agent")).to_contain_text("I hear a whistle.")


@pytest.mark.no_cover  # see conftest.py
@pytest.mark.needs("weights")
def test_a_human_voice_is_understood_and_answered_audibly(chromium_path: Path, tmp_path: Path) -> None:
    package = importlib.util.find_spec("moonshine_voice")
    assert package is not None
    assert package.origin is not None
    with wave.open(str(Path(package.origin).parent / "assets" / "two_cities.wav")) as file:
        assert file.getframerate() == RATE
        speech = file.readframes(5 * RATE)
    command = [sys.executable, "-m", "flare_actors", "serve", "--port", "0"]
    with (
        (tmp_path / "log").open("w+") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as server,
    ):
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        try:
            assert url.startswith("http://"), (tmp_path / "log").read_text()
            microphone = record(tmp_path / "human.wav", speech, silence_s=8)  # long enough for the welcome
            with open_page(chromium_path, url, microphone) as page:
                expect(page.get_by_text("A demo brain is answering")).to_be_visible()
                page.set_default_timeout(REAL_ENGINES_S * 1000)
                page.get_by_role("button", name="Start").click()
                wait(page, LOUD, patience_s=REAL_ENGINES_S)
                expect(page.locator(".entry.agent").first).to_contain_text("Hello!")
                expect(page.locator(".entry.user:not(.partial)").first).to_contain_text(
                    re.compile("best of times", re.IGNORECASE), timeout=REAL_ENGINES_S * 1000
                )
                wait(page, f"(await app.player.statistics()).turn > 1 && {LOUD}", patience_s=REAL_ENGINES_S)
                expect(page.locator(".entry.agent .words").nth(1)).to_have_text(re.compile("[a-z]"))
                expect(page.get_by_role("heading", name="Listening")).to_be_visible(timeout=REAL_ENGINES_S * 1000)
                assert ask(page, "await app.player.statistics()")["playedS"] > 0.3
                expect(page.locator("#waterfall .turn")).to_have_count(2)
        finally:
            server.terminate()
