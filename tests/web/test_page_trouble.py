"""What the page says and does when something is missing, refused or lost."""

from __future__ import annotations

import re

import pytest
from browser_kit import OpenPage, ask, start, tone, wait
from fake_server import FakeServer, Message, Peer

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra `test`)").expect
pytestmark = [pytest.mark.needs("chromium"), pytest.mark.no_cover]  # what is tested here is no Python

HANDSHAKE = ("WebSocket connection to", "Failed to load resource")


def test_a_denied_microphone_is_explained_and_typing_goes_on(open_page: OpenPage, server: FakeServer) -> None:
    page = open_page(permissions=[])
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_role("heading", name="The microphone is blocked")).to_be_visible()
    expect(page.locator(".notice")).to_contain_text("Allow the microphone in the address bar")
    peer = server.peer()
    peer.wait_for("start_conversation")
    page.get_by_label("Type instead of speaking").fill("Hello")
    page.keyboard.press("Enter")
    assert peer.wait_for("text")["text"] == "Hello"
    page.context.grant_permissions(["microphone"])
    page.get_by_role("button", name="Try the microphone again").click()
    server.wait_until(lambda: len(peer.pcm) > 0, "audio")
    expect(page.get_by_role("heading", name="The microphone is blocked")).to_have_count(0)


@pytest.mark.parametrize(
    ("error", "title"),
    [("NotFoundError", "No microphone was found"), ("NotReadableError", "The microphone cannot be opened")],
)
def test_an_absent_microphone_is_explained(open_page: OpenPage, server: FakeServer, error: str, title: str) -> None:
    page = open_page(
        script=f"navigator.mediaDevices.getUserMedia = async () => {{ throw new DOMException('', '{error}'); }};"
    )
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_role("heading", name=title)).to_be_visible()
    server.peer().wait_for("start_conversation")


def test_a_microphone_that_is_unplugged_is_told(open_page: OpenPage, server: FakeServer) -> None:
    page = open_page(
        script="""
        const ask = navigator.mediaDevices.getUserMedia;
        navigator.mediaDevices.getUserMedia = async function (wanted) {
          const stream = await ask.call(this, wanted);
          [window.track] = stream.getTracks();
          return stream;
        };
        """
    )
    start(page, server)
    page.evaluate("track.dispatchEvent(new Event('ended'))")
    expect(page.get_by_role("heading", name="The microphone is gone")).to_be_visible()
    assert ask(page, "app.microphone.isOpen") is False


def test_an_insecure_address_is_explained_and_answers_can_be_read(open_page: OpenPage, server: FakeServer) -> None:
    page = open_page(f"http://insecure.test:{server.port}/", permissions=[])
    expect(page.get_by_role("heading", name="No microphone on this address")).to_be_visible()
    expect(page.locator(".notice")).to_contain_text(f"http://localhost:{server.port}")
    page.get_by_label("Type instead of speaking").fill("Hello")
    page.keyboard.press("Enter")
    peer = server.peer()
    hello = peer.of("start_session")[0]
    assert (hello["output"], hello["reports_playback"], hello["pauses_playback"]) == ("text", False, False)
    peer.wait_for("text")
    peer.send("response_text_done", turn=1, text="Hello to you.")
    expect(page.locator(".entry.agent")).to_contain_text("Hello to you.")
    expect(page.get_by_role("button", name="Mute")).to_have_attribute("aria-disabled", "true")


def test_a_lost_connection_comes_back_to_the_same_conversation(open_page: OpenPage, server: FakeServer) -> None:
    page = open_page(complaints=HANDSHAKE)
    peer = start(page, server)
    server.refuse, server.healthz_status = 500, 500
    peer.send("turn_started", turn=1, kind="response")
    peer.send("response_text_delta", turn=1, text="This will not be fin")
    peer.go("listening", "playing_response", turn=1)
    expect(page.get_by_role("heading", name="Speaking")).to_be_visible()
    peer.close(1011)
    expect(page.get_by_role("heading", name="Not connected")).to_be_visible()
    # After a few tries the back-off is long enough that the click comes before it ends by itself.
    expect(page.locator(".notice")).to_contain_text(re.compile(r"Trying again in ([4-9]|1\d) s"), timeout=40_000)
    server.state, server.refuse, server.healthz_status = "listening", None, 200
    page.get_by_role("button", name="Try now").click()
    second = server.peer(2)
    resume = second.of("start_session")[0]["resume"]
    assert resume == {"session_id": "session-0123456789abcd", "token": "first-token"}
    expect(page.get_by_role("heading", name="Listening")).to_be_visible()
    expect(page.locator(".notice")).to_have_count(0)
    server.wait_until(lambda: len(second.pcm) > 0, "audio on the new connection")
    assert second.of("start_conversation") == []
    expect(page.locator(".entry.agent")).to_contain_text("This will not be fin")


def test_it_comes_back_without_being_asked(open_page: OpenPage, server: FakeServer) -> None:
    peer = start(open_page(), server)
    for number in (2, 3):
        peer.close(1012)
        peer = server.peer(number)
        assert "resume" in peer.of("start_session")[0]


def test_a_conversation_that_is_gone_leaves_the_microphone_closed(open_page: OpenPage, server: FakeServer) -> None:
    page = open_page()
    peer = start(page, server)
    server.resumable = False
    peer.close(1011)
    expect(page.locator(".notice h3")).to_have_text(["The earlier conversation is over"])
    assert ask(page, "app.microphone.isOpen") is False
    assert server.peer(2).of("start_conversation") == []
    page.get_by_role("button", name="Start").click()
    server.peer(2).wait_for("start_conversation")
    expect(page.locator(".notice")).to_have_count(0)


def test_a_connection_that_died_without_a_word_is_noticed(open_page: OpenPage, server: FakeServer) -> None:
    page = open_page(apart=True)
    page.clock.install()
    peer = start(page, server)
    for number in (1, 2):  # the pong has come: nothing happens but the next ping
        page.clock.run_for(10_500)
        peer.wait_for("ping", number)
        peer.send("transcript", utterance=number, text="What comes after the pong.")
        expect(page.locator(".entry.user")).to_have_count(number)
    server.pongs = False
    page.clock.run_for(10_500)
    peer.wait_for("ping", 3)
    page.clock.run_for(9_500)
    assert "resume" in server.peer(2).of("start_session")[0]


def test_the_waits_between_attempts_grow_and_differ(open_page: OpenPage) -> None:
    waits = open_page().evaluate(
        """async () => {
          const {backoff} = await import('/client.js');
          return [0, 1, 2, 3, 4, 5, 6, 60].map((attempt) => [backoff(attempt, () => 0), backoff(attempt, () => 1)]);
        }"""
    )
    assert waits == [[0.25, 0.5], [0.5, 1], [1, 2], [2, 4], [4, 8], [7.5, 15], [7.5, 15], [7.5, 15]]


@pytest.mark.parametrize(("code", "title"), [("busy", "The server is busy"), ("draining", "The server is restarting")])
def test_a_server_that_is_full_or_goes_down_is_called_again(
    open_page: OpenPage, server: FakeServer, code: str, title: str
) -> None:
    def turn_away(peer: Peer, message: Message) -> None:
        peer.tell("error", code=code, message="Not now.", recoverable=False, turn=None, field=None)
        peer.hang_up(1013)

    server.answers, server.on_message = False, turn_away
    page = open_page()
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_role("heading", name=title)).to_be_visible()
    server.answers, server.on_message = True, None  # it may have been turned away more than once by now
    server.wait_until(lambda: any(peer.of("start_conversation") for peer in server.peers), "a conversation")
    expect(page.locator(".notice")).to_have_count(0)


def test_what_would_fail_again_is_not_tried_again(open_page: OpenPage, server: FakeServer) -> None:
    def turn_away(peer: Peer, message: Message) -> None:
        words = "The recogniser does not know that language."
        peer.tell("error", code="unsupported_locale", message=words, recoverable=False, turn=None, field="locale")
        peer.hang_up(1008)

    server.answers, server.on_message = False, turn_away
    page = open_page()
    page.get_by_role("button", name="Start").click()
    expect(page.locator(".notice")).to_contain_text("does not know that language")
    expect(page.get_by_role("button", name="Start")).to_be_visible()
    assert ask(page, "[app.client.status, app.microphone.isOpen]") == ["closed", False]


@pytest.mark.parametrize(
    ("status", "title"),
    [
        (403, "This page may not use the server"),
        (503, "The server is busy"),
        (500, "The server refused the connection"),
    ],
)
def test_why_a_connection_was_refused_is_found_out(
    open_page: OpenPage, server: FakeServer, status: int, title: str
) -> None:
    server.refuse = status
    page = open_page(complaints=HANDSHAKE)
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_role("heading", name=title)).to_be_visible()


def test_a_conversation_that_another_connection_took_over_is_left_to_it(
    open_page: OpenPage, server: FakeServer
) -> None:
    page = open_page()
    start(page, server).close(4001)
    expect(page.get_by_role("heading", name="The conversation goes on elsewhere")).to_be_visible()
    assert ask(page, "app.client.status") == "closed"


def test_a_server_that_is_away_is_called_until_it_is_back_or_the_person_gives_up(
    open_page: OpenPage, server: FakeServer
) -> None:
    page = open_page(complaints=HANDSHAKE)
    server.refuse = 500
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_role("heading", name="The server refused the connection")).to_be_visible()
    page.get_by_role("button", name="End", exact=True).click()
    expect(page.get_by_role("heading", name="Ready when you are")).to_be_visible()
    expect(page.locator(".notice")).to_have_count(0)
    server.refuse = None
    start(page, server)


def test_a_key_is_asked_for_where_one_is_wanted(open_page: OpenPage, server: FakeServer) -> None:
    server.key = "s3cret"
    page = open_page(complaints=HANDSHAKE)
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_role("heading", name="The server asks for a key")).to_be_visible()
    expect(page.get_by_label("API key")).to_be_focused()
    page.keyboard.type("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="The server refused this key")).to_be_visible()
    page.keyboard.type("s3cret")
    page.keyboard.press("Enter")
    assert server.peer().offered == ["flare", "flare-api-key.s3cret"]
    expect(page.get_by_role("heading", name="Listening")).to_be_visible()
    expect(page.locator(".notice")).to_have_count(0)


def test_a_key_in_the_address_is_used_and_taken_out_of_it(open_page: OpenPage, server: FakeServer) -> None:
    server.key = "s3cret"
    page = open_page(server.url + "#key=s3cret")
    assert page.url == server.url
    start(page, server)
    page.reload()
    page.get_by_role("button", name="Start").click()
    assert server.peer(2).offered == ["flare", "flare-api-key.s3cret"]


def test_a_key_that_no_browser_can_send_is_refused_in_words(open_page: OpenPage, server: FakeServer) -> None:
    page = open_page(server.url + "#key=not%20a%20token")
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_role("heading", name="The server refused this key")).to_be_visible()


@pytest.mark.parametrize(
    ("reason", "title"),
    [
        ("idle", "The session has ended"),
        ("shutdown", "The server is shutting down"),
        ("critical_error", "The session has"),
    ],
)
def test_the_end_of_a_session_is_explained_and_start_opens_another(
    open_page: OpenPage, server: FakeServer, reason: str, title: str
) -> None:
    page = open_page()
    peer = start(page, server)
    peer.go("listening", "ended", reason=reason)
    peer.send("session_ended", reason=reason)  # and the server takes its time to close
    expect(page.locator(".notice h3")).to_have_text(re.compile(title))
    expect(page.locator(".node.lit")).to_have_text("ended")
    assert ask(page, "app.microphone.isOpen") is False
    server.wait_until(lambda: peer.closed, "the page's goodbye")
    page.get_by_role("button", name="Start").click()
    assert "resume" not in server.peer(2).of("start_session")[0]
    expect(page.get_by_role("heading", name="Listening")).to_be_visible()


def test_a_conversation_that_the_server_ends_gives_the_microphone_back(open_page: OpenPage, server: FakeServer) -> None:
    page = open_page()
    peer = start(page, server)
    peer.go("listening", "idle", reason="idle")
    expect(page.get_by_role("heading", name="The conversation has ended")).to_be_visible()
    assert ask(page, "app.microphone.isOpen") is False
    page.get_by_role("button", name="Start").click()
    peer.wait_for("start_conversation", 2)


def test_an_error_is_shown_until_the_next_answer(open_page: OpenPage, server: FakeServer) -> None:
    page = open_page()
    peer = start(page, server)
    peer.send("error", code="llm_failed", message="The language model failed.", recoverable=True, turn=1, field=None)
    expect(page.locator(".notice")).to_contain_text("The language model failed.")
    peer.send("turn_started", turn=2, kind="response")
    expect(page.locator(".notice")).to_have_count(0)
    peer.send("error", code="llm_failed", message="It failed again.", recoverable=True, turn=2, field=None)
    page.get_by_role("button", name="Dismiss").click()
    expect(page.locator(".notice")).to_have_count(0)


def test_a_demo_brain_is_called_one_if_the_server_has_one(open_page: OpenPage, server: FakeServer) -> None:
    page = open_page()
    page.wait_for_load_state("networkidle")
    expect(page.locator("#brain")).to_be_hidden()
    server.healthz = {"demo_brain": True}
    page.reload()
    expect(page.get_by_text("A demo brain is answering")).to_be_visible()
    expect(page.get_by_text('base_url = "http://127.0.0.1:11434/v1"')).to_be_visible()


def test_leaving_the_page_ends_the_session(open_page: OpenPage, server: FakeServer) -> None:
    page = open_page()
    peer = start(page, server)
    page.goto("about:blank")
    peer.wait_for("end_session")


def test_a_sound_that_the_system_has_paused_can_be_resumed(open_page: OpenPage, server: FakeServer) -> None:
    page = open_page()
    peer = start(page, server)
    ask(page, "await app.context.suspend()")
    page.get_by_role("button", name="Resume the sound").click()
    expect(page.locator(".notice")).to_have_count(0)
    peer.speak(1, tone(20.0))
    wait(page, "(await import('/view.js')).levelOf(app.player.analyser) > -20")
    page.get_by_role("button", name="End", exact=True).click()
    ask(page, "await app.context.suspend()")
    page.get_by_role("button", name="Start").click()
    wait(page, "app.context.state === 'running'")
