"""Take the pictures of the page that the documentation shows: ``python tests/web/pictures.py``.

They are of the real page with a scripted conversation. Inter is the font that they are meant to have (apt: fonts-inter).
"""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from browser_kit import FLAGS, record_bursts, start, tone, wait
from fake_server import FakeServer, Peer, fake_server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

IMAGES = Path(__file__).parents[2] / "docs" / "images"
PICTURES: dict[str, dict[str, Any]] = {
    "page": {"viewport": {"width": 1200, "height": 1190}, "color_scheme": "light"},
    "page-dark": {"viewport": {"width": 1200, "height": 1190}, "color_scheme": "dark"},
    "page-phone": {"viewport": {"width": 360, "height": 780}, "device_scale_factor": 2, "color_scheme": "light"},
}


def answer(peer: Peer, turn: int, said: str, text: str, shares_ms: list[int], heard: str | None) -> None:
    """One turn; ``heard`` is what an interruption left of it."""
    peer.send("transcript", utterance=turn, text=said)
    peer.go("listening", "processing_speech", turn=turn)
    peer.send("turn_started", turn=turn, kind="response")
    peer.go("processing_speech", "preparing_response", turn=turn)
    peer.send("response_text_delta", turn=turn, text=text)
    peer.go("preparing_response", "playing_response", turn=turn)
    names = ("endpoint_wait_s", "stt_s", "first_token_s", "first_phrase_s", "first_audio_s")
    shares = {name: each / 1000 for name, each in zip(names, shares_ms, strict=True)}
    peer.send("turn_metrics", turn=turn, **shares, total_s=sum(shares_ms) / 1000)
    if turn < 3:
        peer.send("response_text_done", turn=turn, text=text)
        peer.send("turn_ended", turn=turn, reason="barge_in" if heard else None, heard=heard or text)
        peer.go("playing_response", "listening")


def talk(peer: Peer) -> None:
    everest = "Olympus Mons, on Mars. It is about twenty-two kilometres high,"
    answer(
        peer,
        1,
        "What is the tallest mountain in the solar system?",
        f"{everest} which is two and a half times the height of Mount Everest.",
        [480, 96, 128, 41, 33],
        heard=everest,
    )
    lava = "It is a shield volcano: thin lava flowed out for a very long time, and it all piled up in one place."
    answer(peer, 2, "And how was it made?", lava, [480, 88, 61, 37, 29], heard=None)
    slope = "The slope is so gentle that you would hardly notice it, but it is a walk of three hundred"
    answer(peer, 3, "Could I climb it?", slope, [480, 91, 66, 24, 35], heard=None)
    peer.speak(3, tone(30.0, level=0.18))


def take(browser: Browser, server: FakeServer, name: str, options: dict[str, Any]) -> None:
    server.peers.clear()
    context = browser.new_context(permissions=["microphone"], **options)
    page = context.new_page()
    page.goto(server.url)
    peer = start(page, server)
    page.mouse.move(2, 2)
    page.locator("h1").click()  # no focus ring in the picture
    talk(peer)
    shoot(page, IMAGES / f"{name}.png")
    context.close()


def take_push_to_talk(browser: Browser, server: FakeServer) -> None:
    server.peers.clear()
    context = browser.new_context(permissions=["microphone"], viewport={"width": 760, "height": 600})
    page = context.new_page()
    page.goto(server.url)
    start(page, server)
    page.get_by_role("button", name="Push to talk").click()
    page.locator("h1").click()
    page.keyboard.down("Space")
    shoot(page, IMAGES / "page-push-to-talk.png", ("user",), part=".stage")
    context.close()


def shoot(page: Page, path: Path, heard: tuple[str, ...] = ("user", "agent"), part: str = "") -> None:
    """Take the picture of a moment in which all of ``heard`` are; a picture takes a while, so the meters stand still for it."""
    levels = (
        f"{list(heard)}.map((who) => +document.querySelector(`#${{who}}-level span`).style.getPropertyValue('--level'))"
    )
    wait(page, f"{levels}.every((level) => level > 0.4) && (window.requestAnimationFrame = () => 0, true)")
    shown = page if part == "" else page.locator(part)
    shown.screenshot(path=path, animations="disabled")


def main() -> None:
    from playwright.sync_api import sync_playwright

    IMAGES.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as folder, fake_server() as server, sync_playwright() as driver:
        flags = [*FLAGS, record_bursts(Path(folder) / "bursts.wav")]
        server.session = {"session_id": "Vq3mK0aZt8nRw1", "input_sample_rate": 48_000}
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
        for name, options in PICTURES.items():
            take(browser, server, name, options)
        take_push_to_talk(browser, server)
        browser.close()


if __name__ == "__main__":
    main()
