"""Hold to talk: by mouse, finger and keyboard, and what lets go when nobody does."""

from __future__ import annotations

from typing import Any

import pytest
from browser_kit import OpenPage, ask, start, wait
from fake_server import FakeServer, Peer

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra `test`)").expect
pytestmark = [pytest.mark.needs("chromium"), pytest.mark.no_cover]  # what is tested here is no Python

SPACE = "Hold the button, or the space bar, while you speak."
NO_SPACE = "Hold the button while you speak."


def pushing(page: Any, server: FakeServer) -> Peer:
    """A conversation in which one holds a button to talk."""
    peer = start(page, server)
    page.get_by_role("button", name="Push to talk").click()
    assert peer.wait_for("update_session")["turn_detection"] == "manual"
    expect(page.get_by_role("heading", name="Your turn")).to_be_visible()
    expect(page.get_by_role("button", name="Push to talk")).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_role("button", name="Mute")).to_have_attribute("aria-disabled", "true")
    return peer


def audio_stops(page: Any, peer: Peer) -> int:
    """Bytes of microphone audio, once no more comes."""
    seen = -1
    while seen != len(peer.pcm):
        seen = len(peer.pcm)
        page.wait_for_timeout(150)
    return seen


def test_only_what_is_said_while_the_button_is_held_is_sent_and_then_committed(
    open_page: OpenPage, server: FakeServer
) -> None:
    page = open_page()
    peer = pushing(page, server)
    before = audio_stops(page, peer)
    hold = page.get_by_role("button", name="Hold to talk")
    hold.hover()
    page.mouse.down()
    expect(hold).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_text("Let go when you have finished.")).to_be_visible()
    server.wait_until(lambda: len(peer.pcm) > before + 16_000, "audio")
    page.mouse.move(5, 5)  # off the button: it is held all the same
    assert peer.of("commit") == []
    page.mouse.up()
    peer.wait_for("commit")
    expect(hold).to_have_attribute("aria-pressed", "false")
    audio_stops(page, peer)


@pytest.mark.parametrize("where", ["page", "button"])
def test_the_space_bar_does_the_same(open_page: OpenPage, server: FakeServer, where: str) -> None:
    page = open_page()
    peer = pushing(page, server)
    before = audio_stops(page, peer)
    hold = page.get_by_role("button", name="Hold to talk")
    hold.focus() if where == "button" else ask(page, "document.activeElement.blur()")
    page.keyboard.down("Space")
    server.wait_until(lambda: len(peer.pcm) > before + 16_000, "audio")
    page.keyboard.down("Space")  # as it repeats
    page.keyboard.up("Space")
    peer.wait_for("commit")
    audio_stops(page, peer)
    assert len(peer.of("commit")) == 1


def test_who_types_a_space_does_not_talk(open_page: OpenPage, server: FakeServer) -> None:
    page = open_page()
    peer = pushing(page, server)
    page.get_by_label("Type instead of speaking").press_sequentially("a b")
    expect(page.get_by_label("Type instead of speaking")).to_have_value("a b")
    assert peer.of("commit") == []
    page.get_by_role("button", name="Push to talk").press("Space")  # which presses that button, and no other
    assert peer.wait_for("update_session", 2)["turn_detection"] == "automatic"
    expect(page.get_by_role("button", name="Hold to talk")).to_be_hidden()
    before = len(peer.pcm)
    server.wait_until(lambda: len(peer.pcm) > before + 16_000, "the microphone is open again")


def test_a_finger_holds_it_and_a_cancelled_touch_lets_go(open_page: OpenPage, server: FakeServer) -> None:
    page = open_page(has_touch=True, is_mobile=True, viewport={"width": 700, "height": 780})
    peer = pushing(page, server)
    hold = page.get_by_role("button", name="Hold to talk")
    hold.scroll_into_view_if_needed()
    box = hold.bounding_box()
    assert box is not None
    assert box["height"] >= 44
    hint(page, NO_SPACE)  # which a phone does not have
    expect(hold.locator("kbd")).to_be_hidden()
    devtools = page.context.new_cdp_session(page)
    at = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    for number, end in enumerate(("touchEnd", "touchCancel"), 1):
        devtools.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [at]})
        expect(hold).to_have_attribute("aria-pressed", "true")
        devtools.send("Input.dispatchTouchEvent", {"type": end, "touchPoints": []})
        peer.wait_for("commit", number)
        expect(hold).to_have_attribute("aria-pressed", "false")


@pytest.mark.parametrize("event", ["blur", "end"])
def test_what_takes_the_page_away_lets_go(open_page: OpenPage, server: FakeServer, event: str) -> None:
    page = open_page()
    peer = pushing(page, server)
    page.keyboard.down("Space")
    wait(page, "app.hold.isHeld")
    if event == "blur":
        page.evaluate("window.dispatchEvent(new Event('blur'))")
        peer.wait_for("commit")
    else:
        page.get_by_role("button", name="End", exact=True).click()
        peer.wait_for("end_conversation")
    assert ask(page, "app.hold.isHeld") is False


def test_who_presses_while_the_agent_speaks_stops_it(open_page: OpenPage, server: FakeServer) -> None:
    page = open_page()
    peer = pushing(page, server)
    peer.go("listening", "processing_speech", turn=1)
    peer.go("processing_speech", "preparing_response", turn=1)
    peer.go("preparing_response", "playing_response", turn=1)
    expect(page.get_by_role("heading", name="Speaking")).to_be_visible()
    hint(page, "Hold the button to interrupt.")
    page.keyboard.down("Space")
    peer.wait_for("interrupt")
    page.keyboard.up("Space")
    peer.wait_for("commit")
    peer.send("session_updated", turn_detection="manual")
    expect(page.locator("#facts")).to_contain_text("when you let go of the button")
    peer.send("turn_metrics", turn=2, stt_s=0.1, first_audio_s=0.2, total_s=0.3)
    expect(page.locator("#waterfall summary .figure")).to_have_text("300 ms")
    expect(page.locator("#waterfall dt")).to_have_text(["Speech to text", "First audio"])
    expect(page.locator("#latency-summary")).to_have_text("Median 300 ms, slowest 300 ms of 1 answer")


def test_a_button_that_was_only_touched_is_no_error(open_page: OpenPage, server: FakeServer) -> None:
    page = open_page()
    peer = pushing(page, server)
    peer.send("error", code="nothing_committed", message="there is nothing to commit", recoverable=True, turn=None)
    expect(page.locator("#announcer")).to_have_text("Nothing was heard")
    assert page.get_by_text("Something did not work").count() == 0


def test_a_server_whose_turns_are_committed_makes_the_page_push_to_talk(
    open_page: OpenPage, server: FakeServer
) -> None:
    server.session = {"turn_detection": "manual"}
    page = open_page()
    page.get_by_role("button", name="Start").click()
    peer = server.peer()
    peer.wait_for("start_conversation")
    expect(page.get_by_role("button", name="Hold to talk")).to_be_visible()
    audio_stops(page, peer)
    assert peer.of("update_session") == []


def hint(page: Any, words: str) -> None:
    expect(page.locator("#state-hint")).to_have_text(words)


def test_the_space_bar_talks_whatever_was_pressed_before(open_page: OpenPage, server: FakeServer) -> None:
    page = open_page()
    page.get_by_role("button", name="Push to talk").click()
    page.get_by_role("button", name="Start").click()
    peer = server.peer()
    hint(page, SPACE)
    page.keyboard.press("Space")
    peer.wait_for("commit")
    page.get_by_role("button", name="End", exact=True).click()
    expect(page.get_by_role("heading", name="Ready when you are")).to_be_visible()
    page.get_by_role("button", name="Start").press("Enter")
    hint(page, SPACE)
    page.keyboard.press("Space")
    peer.wait_for("commit", 2)
    for number, press in enumerate(("click", "keyboard"), 1):
        peer.go("listening", "playing_response", turn=number)
        stop = page.get_by_role("button", name="Stop talking")
        expect(stop).to_have_attribute("aria-disabled", "false")
        stop.click() if press == "click" else stop.press("Enter")
        peer.wait_for("interrupt", number)
        peer.go("playing_response", "listening")
        hint(page, SPACE)
        page.keyboard.press("Space")
        peer.wait_for("commit", 2 + number)
    peer.send("turn_metrics", turn=1, stt_s=0.1, total_s=0.1)
    page.locator("#waterfall summary").click()
    page.keyboard.press("Space")
    peer.wait_for("commit", 5)
    expect(page.locator("#waterfall details")).not_to_have_attribute("open", "")
    peer.send("error", code="tts_failed", message="No voice.", recoverable=True, turn=1, field=None)
    page.get_by_role("button", name="Dismiss").press("Enter")
    page.keyboard.press("Space")
    peer.wait_for("commit", 6)
    assert len(peer.of("end_conversation")) == 1


def test_where_the_space_bar_does_something_else_it_is_not_offered(open_page: OpenPage, server: FakeServer) -> None:
    page = open_page()
    peer = pushing(page, server)
    hint(page, SPACE)
    page.get_by_label("Type instead of speaking").click()
    hint(page, NO_SPACE)
    page.locator("h1").click()
    hint(page, SPACE)
    peer.send("turn_metrics", turn=1, stt_s=0.1, total_s=0.1)
    page.locator("#waterfall summary").click()
    hint(page, SPACE)
    page.keyboard.press("Tab")
    page.keyboard.press("Shift+Tab")  # now the keyboard is there, and means it
    hint(page, NO_SPACE)
    page.keyboard.press("Space")
    expect(page.locator("#waterfall details")).to_have_attribute("open", "")
    assert peer.of("commit") == []
