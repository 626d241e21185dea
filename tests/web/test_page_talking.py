"""Starting, speaking, typing, ending; and what the page shows of it."""

from __future__ import annotations

import itertools
import re

import pytest
from browser_kit import TONE_HZ, OpenPage, ask, start, wait
from fake_server import FakeServer

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra `test`)").expect
pytestmark = [pytest.mark.needs("chromium"), pytest.mark.no_cover]  # what is tested here is no Python


def pitch(pcm: bytes, rate: int) -> float:
    """Hz of the loudest 100 ms of ``pcm``, by its zero crossings."""
    samples = memoryview(pcm).cast("h").tolist()
    window = rate // 10
    loudest = max(range(0, len(samples) - window, window), key=lambda at: sum(map(abs, samples[at : at + window])))
    cut = samples[loudest : loudest + window]
    return sum(a < 0 <= b for a, b in itertools.pairwise(cut)) * rate / window


def test_start_opens_a_session_and_a_conversation(open_page: OpenPage, server: FakeServer) -> None:
    page = open_page()
    expect(page.get_by_text("Not connected")).to_be_visible()
    peer = start(page, server)
    hello = peer.of("start_session")[0]
    assert peer.offered == ["flare"]
    assert hello == {
        "type": "start_session",
        "input_sample_rate": ask(page, "app.context.sampleRate"),
        "output_sample_rate": 24_000,
        "reports_playback": True,
        "pauses_playback": True,
    }
    expect(page.get_by_text("Connected", exact=True)).to_be_visible()
    expect(page.locator(".node.lit")).to_have_text("listening")
    expect(page.locator(".diagram")).to_have_attribute("aria-label", "State diagram. Now: listening.")
    expect(page.get_by_text("about 480 ms of silence, as the words suggest")).to_be_visible()


def test_the_microphone_arrives_as_pcm_at_the_announced_rate(open_page: OpenPage, server: FakeServer) -> None:
    page = open_page()
    peer = start(page, server)
    rate = peer.of("start_session")[0]["input_sample_rate"]
    server.wait_until(lambda: len(peer.pcm) > 2 * 2 * rate, "two seconds of audio")
    assert pitch(bytes(peer.pcm), rate) == pytest.approx(TONE_HZ, abs=15)
    assert {0.02 <= size / 2 / rate <= 0.04 for size in peer.sizes} == {True}
    wait(page, "document.querySelector('#user-level span').style.getPropertyValue('--level') > 0.3")


def test_the_microphone_follows_the_rate_that_the_server_has_confirmed(open_page: OpenPage, server: FakeServer) -> None:
    server.session = {"input_sample_rate": 16_000}
    peer = start(open_page(), server)
    server.wait_until(lambda: len(peer.pcm) > 3 * 2 * 16_000, "audio")
    assert pitch(bytes(peer.pcm[16_000:]), 16_000) == pytest.approx(TONE_HZ, abs=15)


def test_what_the_browser_granted_is_shown(open_page: OpenPage, server: FakeServer) -> None:
    page = open_page(
        script="""
        const settings = MediaStreamTrack.prototype.getSettings;
        MediaStreamTrack.prototype.getSettings = function () {
          const { noiseSuppression, ...rest } = settings.call(this);
          return { ...rest, autoGainControl: false };
        };
        const ask = navigator.mediaDevices.getUserMedia;
        navigator.mediaDevices.getUserMedia = function (wanted) { window.wanted = wanted; return ask.call(this, wanted); };
        """
    )
    start(page, server)
    chips = page.locator("#granted li")
    expect(chips).to_have_text(["Echo cancellationon", "Noise suppressionnot told", "Automatic gainoff"])
    asked = page.evaluate("wanted.audio")
    assert asked["echoCancellation"] is asked["noiseSuppression"] is asked["autoGainControl"] is True


def test_a_conversation_ends_and_another_begins_in_the_same_session(open_page: OpenPage, server: FakeServer) -> None:
    page = open_page()
    peer = start(page, server)
    page.get_by_role("button", name="End", exact=True).click()
    peer.wait_for("end_conversation")
    expect(page.get_by_role("heading", name="Ready when you are")).to_be_visible()
    assert ask(page, "app.microphone.isOpen") is False
    page.get_by_role("button", name="Start").click()
    peer.wait_for("start_conversation", 2)
    expect(page.get_by_role("heading", name="Listening")).to_be_visible()
    assert len(server.peers) == 1


def test_a_double_click_on_start_does_not_end_what_it_started(open_page: OpenPage, server: FakeServer) -> None:
    page = open_page()
    page.get_by_role("button", name="Start").dblclick()
    expect(page.get_by_role("heading", name="Listening")).to_be_visible()
    assert server.peer().of("end_conversation") == []


def test_nothing_leaves_the_microphone_while_muted(open_page: OpenPage, server: FakeServer) -> None:
    page = open_page()
    peer = start(page, server)
    server.wait_until(lambda: len(peer.pcm) > 0, "audio")
    page.get_by_role("button", name="Mute").click()
    assert peer.wait_for("mute")["muted"] is True
    expect(page.get_by_role("heading", name="Muted")).to_be_visible()
    sent = len(peer.pcm)
    page.evaluate("new Promise((done) => setTimeout(done, 300))")
    assert len(peer.pcm) == sent
    page.get_by_role("button", name="Unmute").click()
    assert peer.wait_for("mute", 2)["muted"] is False
    server.wait_until(lambda: len(peer.pcm) > sent, "audio after the mute")


def test_typing_starts_a_conversation_without_a_microphone(open_page: OpenPage, server: FakeServer) -> None:
    page = open_page()
    page.get_by_label("Type instead of speaking").fill("  What time is it?  ")
    page.keyboard.press("Enter")
    peer = server.peer()
    assert peer.wait_for("text")["text"] == "What time is it?"
    assert [message["type"] for message in peer.messages] == ["start_session", "start_conversation", "text"]
    assert ask(page, "app.microphone.isOpen") is False
    expect(page.locator(".entry.user")).to_contain_text("What time is it?")
    expect(page.get_by_role("heading", name="Your turn")).to_be_visible()
    peer.go("listening", "playing_response", turn=1)
    expect(page.get_by_text("Press Stop talking, or type, to interrupt.")).to_be_visible()
    page.get_by_role("button", name="Use microphone").click()
    server.wait_until(lambda: len(peer.pcm) > 0, "audio")
    expect(page.get_by_text("Just speak to interrupt.")).to_be_visible()
    page.get_by_role("button", name="Mute").click()
    expect(page.get_by_text("Press Stop talking, or type, to interrupt.")).to_be_visible()


def test_stop_talking_interrupts_an_answer_and_nothing_else(open_page: OpenPage, server: FakeServer) -> None:
    page = open_page()
    peer = start(page, server)
    stop = page.get_by_role("button", name="Stop talking")
    expect(stop).to_have_attribute("aria-disabled", "true")
    page.keyboard.press("Escape")
    peer.go("listening", "processing_speech", turn=1)
    expect(stop).to_have_attribute("aria-disabled", "false")
    assert peer.of("interrupt") == []
    stop.click()
    peer.wait_for("interrupt")
    page.keyboard.press("Escape")
    peer.wait_for("interrupt", 2)


def test_what_is_understood_grows_and_settles(open_page: OpenPage, server: FakeServer) -> None:
    page = open_page()
    peer = start(page, server)
    words = page.locator(".entry.user .words")
    peer.send("speech_started", utterance=1)
    expect(page.get_by_text("I hear you.")).to_be_visible()
    peer.send("partial_transcript", utterance=1, text="hello")
    expect(words).to_have_text("hello")
    expect(page.locator(".entry.user")).to_have_class(re.compile("partial"))
    peer.send("partial_transcript", utterance=1, text="hello were")
    peer.send("transcript", utterance=1, text="Hello world.")
    expect(words).to_have_text("Hello world.")
    expect(page.locator(".entry.user")).not_to_have_class(re.compile("partial"))
    peer.send("speech_stopped", utterance=1, speech_s=1.0)
    expect(page.get_by_text("Go ahead.")).to_be_visible()
    peer.send("partial_transcript", utterance=2, text="uh")
    expect(words).to_have_count(2)
    peer.send("nothing_heard", utterance=2)
    expect(words).to_have_count(1)
    peer.send("partial_transcript", utterance=3, text="uh")
    expect(words).to_have_count(2)
    peer.send("transcript", utterance=3, text="")
    expect(words).to_have_count(1)


def test_the_heard_part_of_an_interrupted_answer_is_told_from_the_rest(open_page: OpenPage, server: FakeServer) -> None:
    page = open_page()
    peer = start(page, server)
    peer.send("turn_started", turn=1, kind="response")
    for text in ("One. ", "Two.  ", "Three."):
        peer.send("response_text_delta", turn=1, text=text)
    expect(page.locator(".entry.agent")).to_have_class(re.compile("growing"))
    peer.send("turn_ended", turn=1, reason="barge_in", heard="One. Two.")
    expect(page.locator(".heard")).to_have_text("One. Two.")
    expect(page.locator("s.unheard")).to_have_text("Three.")
    expect(page.locator(".entry.agent .note")).to_have_text("interrupted")
    peer.send("turn_started", turn=2, kind="response")
    peer.send("response_text_done", turn=2, text="All of it.")
    peer.send("turn_ended", turn=2, reason=None, heard="All of")  # said to its end: nothing is struck out
    expect(page.locator(".entry.agent").last.locator(".words")).to_have_text("All of it.")
    expect(page.locator("s.unheard")).to_have_count(1)
    peer.send("turn_started", turn=3, kind="response")
    expect(page.locator(".entry.agent")).to_have_count(3)
    peer.send("turn_ended", turn=3, reason="barge_in", heard="")
    expect(page.locator(".entry.agent")).to_have_count(2)


def test_an_answer_that_was_taken_back_unheard_leaves_nothing_unless_it_was_stopped(
    open_page: OpenPage, server: FakeServer
) -> None:
    page = open_page()
    peer = start(page, server)

    def begin(turn: int, kind: str = "response") -> None:
        peer.go("listening", "processing_speech", turn=turn)
        peer.send("turn_started", turn=turn, kind=kind)
        peer.send("response_text_delta", turn=turn, text=f"Answer {turn}.")
        expect(page.locator(".entry.agent").last).to_contain_text(f"Answer {turn}.")

    def end(turn: int, reason: str = "barge_in") -> None:
        peer.send("turn_ended", turn=turn, reason=reason, heard="")
        peer.go("processing_speech", "listening")

    answers = page.locator(".entry.agent .words")
    begin(1)
    end(1)  # The user spoke on: that was no answer to the whole question.
    expect(answers).to_have_count(0)
    begin(2)
    page.get_by_role("button", name="Stop talking").click()
    end(2)
    expect(page.locator(".entry.agent .note")).to_have_text("interrupted, not heard")
    begin(3)
    page.get_by_label("Type instead of speaking").fill("Something else")
    page.keyboard.press("Enter")
    peer.wait_for("text")
    end(3)
    begin(4, "welcome")
    end(4)
    begin(5)
    end(5, "error_recovery")
    begin(6)
    end(6)
    begin(7)
    expect(answers).to_have_text([re.compile(f"Answer {turn}") for turn in (2, 3, 4, 5, 7)])


@pytest.mark.parametrize(
    ("text", "heard", "unheard"),
    [
        ("One. Two.", "", "One. Two."),
        ("One. Two.", "One. Two.", ""),
        ("One.  Two.", "One. Tw", "o."),
        ("One. Two.", "Another text", ""),
    ],
)
def test_an_answer_is_split_where_it_was_cut(open_page: OpenPage, text: str, heard: str, unheard: str) -> None:
    split = "async ([text, heard]) => (await import('/conversation.js')).split(text, heard)"
    assert open_page().evaluate(split, [text, heard])["unheard"] == unheard


def test_each_stage_of_a_turn_begins_where_the_last_one_ended(open_page: OpenPage, server: FakeServer) -> None:
    page = open_page()
    peer = start(page, server)
    shares = {
        "endpoint_wait_s": 0.48,
        "stt_s": 0.1,
        "first_token_s": 0.12,
        "first_phrase_s": None,
        "first_audio_s": 0.1,
    }
    peer.send("turn_metrics", turn=1, **shares, total_s=0.8)
    peer.send("turn_started", turn=3, kind="welcome")
    peer.send("turn_metrics", turn=3, first_audio_s=0.1, total_s=0.1)
    peer.send("turn_metrics", turn=2, **(shares | {"stt_s": 0.3}), total_s=1.0)
    turns = page.locator("#waterfall .turn")
    expect(turns).to_have_count(3)
    expect(turns.nth(1).locator("summary")).to_have_text(re.compile("Welcome.*100 ms"))
    expect(turns.nth(0).locator("summary")).to_have_text(re.compile("Turn 2.*1000 ms"))
    expect(turns.nth(2).locator("summary")).to_have_text(re.compile("Turn 1.*800 ms"))
    expect(page.locator("#latency-summary")).to_have_text("Median 900 ms, slowest 1000 ms of 2 answers")
    boxes = (
        turns.nth(0).locator("summary .bar").evaluate_all("bars => bars.map(b => b.getBoundingClientRect().toJSON())")
    )
    assert len(boxes) == 4
    for before, after in itertools.pairwise(boxes):
        assert after["left"] == pytest.approx(before["right"], abs=1)
    assert boxes[1]["width"] / boxes[0]["width"] == pytest.approx(0.3 / 0.48, abs=0.05)
    expect(turns.nth(0)).to_have_attribute("open", "")
    expect(turns.nth(1)).not_to_have_attribute("open", "")


def test_the_diagram_is_drawn_from_the_conversations_own_table(open_page: OpenPage) -> None:
    from flare_actors.conversation.table import TRANSITIONS

    page = open_page()
    drawn = page.evaluate("import('/states.js').then((module) => module.TRANSITIONS)")
    assert {state: set(targets) for state, targets in drawn.items()} == {
        state.value: {target.value for target in targets} for state, targets in TRANSITIONS.items()
    }
    for state, targets in drawn.items():
        for target in targets:
            ask(page, "app.diagram.show(argument[1], argument[0])", [state, target])
            assert page.locator(".node.lit").get_attribute("data-state") == target
            arrow = page.locator(".arrow.lit").get_attribute("d")
            assert arrow is not None, f"{state} -> {target} has no arrow"
            assert " L" not in arrow, f"{state} -> {target} has no route of its own"
