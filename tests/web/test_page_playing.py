"""What of the agent's voice is heard, when it stops, and what the server is told of it."""

from __future__ import annotations

import math

import pytest
from browser_kit import OpenPage, ask, start, tone, wait, watch
from fake_server import FakeServer

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra `test`)").expect
pytestmark = [pytest.mark.needs("chromium"), pytest.mark.no_cover]  # what is tested here is no Python

LOUD = "(await import('/view.js')).levelOf(app.player.analyser) > -20"
SILENT = "(await import('/view.js')).levelOf(app.player.analyser) <= -60"


def test_the_answer_is_heard_and_reported(open_page: OpenPage, server: FakeServer) -> None:
    page = open_page()
    peer = start(page, server)
    peer.send("response_text_done", turn=1, text="Hum.")
    loud = watch(page, LOUD)
    shown = watch(page, "document.querySelector('#agent-level span').style.getPropertyValue('--level') > 0.5")
    peer.speak(1, tone(1.0))
    loud()
    shown()
    assert peer.wait_for("audio_playback_completed")["turn"] == 1
    progress = peer.of("playback_progress")
    assert {each["turn"] for each in progress} == {1}
    seconds = [each["played_s"] for each in progress]
    assert seconds == sorted(seconds)
    assert 0 < seconds[-1] <= 1.0
    assert len(seconds) >= 3  # about every 250 ms
    heard = ask(page, "await app.player.statistics()")
    assert heard["playedS"] == 1.0
    assert heard["renderedSamples"] == pytest.approx(ask(page, "app.context.sampleRate"), rel=0.005)
    wait(page, SILENT)


def test_what_the_level_shows_goes_to_the_loudspeaker(open_page: OpenPage, server: FakeServer) -> None:
    page = open_page(
        script="""
        window.wires = [];
        const connect = AudioNode.prototype.connect;
        AudioNode.prototype.connect = function (to, ...rest) {
          wires.push([this, to]);
          return connect.call(this, to, ...rest);
        };
        """
    )
    start(page, server)
    into = "window.wires.filter(([, to]) => to === {}).map(([from]) => from.constructor.name)"
    assert ask(page, into.format("app.context.destination")) == ["AnalyserNode"]
    assert ask(page, into.format("app.player.analyser")) == ["AudioWorkletNode"]


def test_it_sounds_at_the_pitch_at_which_it_was_spoken(open_page: OpenPage, server: FakeServer) -> None:
    page = open_page()
    peer = start(page, server)
    peer.speak(1, tone(20.0, 1_000))
    wait(page, LOUD)
    peak = """(() => {
        const { analyser } = app.player;
        const bins = new Float32Array(analyser.frequencyBinCount);
        analyser.getFloatFrequencyData(bins);
        return bins.indexOf(Math.max(...bins)) * app.context.sampleRate / analyser.fftSize;
    })()"""
    assert ask(page, peak) == pytest.approx(1_000, abs=50)


def test_a_gap_in_the_answer_is_not_its_end(open_page: OpenPage, server: FakeServer) -> None:
    page = open_page()
    peer = start(page, server)
    peer.speak(1, tone(0.2))
    peer.wait_for("audio_playback_completed")  # it stayed empty: the server is told, and knows that more will come
    peer.speak(1, tone(0.2))
    peer.send("response_text_done", turn=1, text="Hum, hum.")
    peer.wait_for("audio_playback_completed", 2)
    assert ask(page, "await app.player.statistics()")["playedS"] == pytest.approx(0.4)


def test_turns_that_follow_each_other_are_reported_in_order(open_page: OpenPage, server: FakeServer) -> None:
    page = open_page()
    peer = start(page, server)
    for turn in (1, 2):
        peer.send("response_text_done", turn=turn, text="Hum.")
        peer.speak(turn, tone(0.4))
    peer.wait_for("audio_playback_completed", 2)
    # While the next two are played the page is busy, and learns of both ends at once.
    ask(
        page,
        """(() => {
          const push = app.player.push.bind(app.player);
          app.player.push = (turn, pcm) => {
            push(turn, pcm);
            const until = performance.now() + 600;
            while (turn === 4 && performance.now() < until);
          };
        })()""",
    )
    for turn in (3, 4):
        peer.send("response_text_done", turn=turn, text="Hum.")
        peer.speak(turn, tone(0.1))
    server.wait_until(
        lambda: any(each["turn"] == 4 for each in peer.of("audio_playback_completed")), "the end of turn 4"
    )
    reports = [message for message in peer.messages if "turn" in message]
    assert [each["turn"] for each in peer.of("audio_playback_completed")] == [1, 2, 3, 4]
    assert [each["turn"] for each in reports] == sorted(each["turn"] for each in reports)


def test_a_flush_is_heard_at_once_and_late_frames_are_refused(open_page: OpenPage, server: FakeServer) -> None:
    page = open_page()
    peer = start(page, server)
    peer.speak(1, tone(20.0))
    wait(page, LOUD)
    # Asked in the very moment of the flush, before the audio thread gets to render anything more.
    page.evaluate(
        """async () => {
          const {app} = await import('/main.js');
          const clear = app.player.clear.bind(app.player);
          window.flushed = new Promise((resolve) => {
            app.player.clear = (turn) => {
              clear(turn);
              resolve(app.player.statistics());
            };
          });
        }"""
    )
    peer.send("playback_clear", turn=1, reason="barge_in")
    flushed = page.evaluate("window.flushed")
    assert flushed["playing"] is False
    assert flushed["queuedS"] == 0
    assert flushed["droppedSamples"] == 20 * 24_000 - round(flushed["playedS"] * 24_000)
    wait(page, SILENT)
    peer.speak(1, tone(0.5))
    peer.send("response_text_done", turn=2, text="Hum.")
    peer.speak(2, tone(0.3))
    assert peer.wait_for("audio_playback_completed")["turn"] == 2
    heard = ask(page, "await app.player.statistics()")
    assert heard["refusedSamples"] == 12_000
    assert heard["turn"] == 2
    assert heard["playedS"] == pytest.approx(0.3)
    reported = [each["played_s"] for each in peer.of("playback_progress") if each["turn"] == 1][-1]
    assert (
        flushed["playedS"] - 0.5 <= reported <= flushed["playedS"]
    )  # less what was still on its way to the loudspeaker


def test_it_stands_still_while_the_user_speaks_and_goes_on_with_the_next_sample(
    open_page: OpenPage, server: FakeServer
) -> None:
    page = open_page()
    peer = start(page, server)
    peer.send("turn_started", turn=1, kind="response")
    peer.go("listening", "playing_response", turn=1)
    peer.send("response_text_done", turn=1, text="Hum.")
    expect(page.get_by_role("heading", name="Speaking")).to_be_visible()
    loud = watch(page, LOUD)
    peer.speak(1, tone(2.0))
    loud()
    peer.send("playback_pause", turn=1)
    wait(page, SILENT)
    expect(page.get_by_text("waits: you are speaking")).to_be_visible()
    expect(page.get_by_role("heading", name="Listening")).to_be_visible()
    expect(page.get_by_text("I hear you.")).to_be_visible()
    assert page.locator("#announcer").text_content() == "Speaking"  # nobody talks into what is said
    before = ask(page, "await app.player.statistics()")
    assert before["still"] is True
    assert 0 < before["queuedS"] < 2.0
    again = ask(page, "await app.player.statistics()")
    assert (again["playedS"], again["queuedS"]) == (before["playedS"], before["queuedS"])
    loud = watch(page, LOUD)
    peer.send("playback_resume", turn=1)
    loud()
    expect(page.get_by_text("waits: you are speaking")).to_have_count(0)
    expect(page.get_by_role("heading", name="Speaking")).to_be_visible()
    assert peer.wait_for("audio_playback_completed")["turn"] == 1
    heard = ask(page, "await app.player.statistics()")
    assert heard["playedS"] == 2.0
    # Not a sample more than there is: the pause was none of the answer.
    assert heard["renderedSamples"] == pytest.approx(2 * ask(page, "app.context.sampleRate"), rel=0.005)
    # The server was told at once where it stood still.
    told = [each["played_s"] for each in peer.of("playback_progress")]
    assert any(seconds == pytest.approx(before["playedS"], abs=0.55) for seconds in told)


def test_what_ends_a_turn_ends_its_pause(open_page: OpenPage, server: FakeServer) -> None:
    page = open_page()
    peer = start(page, server)
    peer.speak(1, tone(20.0))
    wait(page, LOUD)
    peer.send("playback_pause", turn=1)
    wait(page, SILENT)
    peer.send("turn_ended", turn=1, reason=None, heard="")  # What it has of it is heard.
    wait(page, LOUD)
    assert ask(page, "app.still") is None
    peer.send("playback_pause", turn=1)
    wait(page, SILENT)
    peer.send("playback_clear", turn=1, reason="barge_in")
    wait(page, "app.still === null")
    peer.speak(2, tone(20.0))
    wait(page, LOUD)
    assert ask(page, "await app.player.statistics()")["turn"] == 2


STAND_STILL = """async ([samples, pauseS, resumeS]) => {
    const render = async (disturb) => {
      const context = new OfflineAudioContext(1, samples.length + 24000, 24000);
      await context.audioWorklet.addModule('/playback-worklet.js');
      const node = new AudioWorkletNode(context, 'flare-playback', {numberOfInputs: 0, outputChannelCount: [1]});
      node.connect(context.destination);
      const arrived = () => new Promise((resolve) => {
        node.port.onmessage = ({data}) => data.type === 'statistics' && resolve();
        node.port.postMessage({type: 'ask', id: 1});
      });
      node.port.postMessage({type: 'reset', sampleRate: 24000});
      node.port.postMessage({type: 'audio', turn: 1, samples: new Float32Array(samples)});
      await arrived();
      const at = async (seconds, type) => {
        await context.suspend(seconds);
        node.port.postMessage({type, turn: 1});
        await arrived();
        context.resume();
      };
      if (disturb) {
        at(pauseS, 'pause');
        at(resumeS, 'resume');
      }
      return Array.from((await context.startRendering()).getChannelData(0));
    };
    return [await render(false), await render(true)];
}"""


def test_after_a_pause_the_samples_are_the_ones_that_would_have_come_without_it(open_page: OpenPage) -> None:
    samples = [math.sin(index * index / 90_000) / 2 for index in range(24_000)]  # no two stretches of it are alike
    pause, resume, fade = 94 * 128, 160 * 128, 96
    plain, disturbed = open_page().evaluate(STAND_STILL, [samples, pause / 24_000, resume / 24_000])
    assert max(map(abs, plain)) > 0.4
    assert disturbed[:pause] == plain[:pause]
    assert set(disturbed[pause + fade : resume]) == {0}
    rest = len(plain) - resume
    assert disturbed[resume + fade :] == plain[pause + fade : pause + rest]
    # Neither its beginning nor its end is a click: what is cut off there dies away.
    assert abs(disturbed[pause] - disturbed[pause - 1]) < 0.02
    assert abs(disturbed[resume]) < 0.02


def test_what_was_queued_but_never_heard_is_reported_as_not_heard(open_page: OpenPage, server: FakeServer) -> None:
    page = open_page()
    peer = start(page, server)
    peer.speak(1, tone(20.0))
    wait(page, LOUD)
    peer.speak(2, tone(1.0))
    peer.send("playback_clear", turn=2, reason="barge_in")
    server.wait_until(lambda: any(each["turn"] == 2 for each in peer.of("playback_progress")), "a report of turn 2")
    assert {each["played_s"] for each in peer.of("playback_progress") if each["turn"] == 2} == {0}
    assert ask(page, "await app.player.statistics()")["playing"] is True


def test_a_new_session_may_use_the_numbers_of_flushed_turns_again(open_page: OpenPage, server: FakeServer) -> None:
    page = open_page()
    peer = start(page, server)
    peer.send("playback_clear", turn=1, reason="session_ended")
    peer.send("session_ended", reason="idle")
    peer.close()
    expect(page.get_by_role("heading", name="The session has ended", level=2)).to_be_visible()
    page.get_by_role("button", name="Start").click()
    second = server.peer(2)
    second.wait_for("start_conversation")
    second.speak(1, tone(20.0))
    wait(page, LOUD)


def test_frames_of_another_version_are_let_pass(open_page: OpenPage, server: FakeServer) -> None:
    page = open_page()
    peer = start(page, server)
    for data in (b"", b"\x01", b"\x02" + bytes(100), b"\x01" + bytes(7), b"\x01" + bytes(8)):
        server.run(peer._out.send_nowait, data)
    peer.send("something_new", turn=1)
    peer.speak(1, tone(0.2))
    peer.wait_for("audio_playback_completed")
    heard = ask(page, "await app.player.statistics()")
    assert (heard["turn"], heard["playedS"], heard["queuedS"]) == (1, pytest.approx(0.2), 0)


RESAMPLE = """async ([from, to, hz]) => {
    const {Resampler} = await import('/resampler.js');
    const resampler = new Resampler(from, to);
    const pushed = new Resampler(from, to);
    const count = Math.round(to / 4);
    let taken = 0;
    const pulled = Array.from({length: count}, () => resampler.read(() => Math.sin(2 * Math.PI * hz * taken++ / from)));
    const emitted = [];
    for (let i = 0; i < taken; i += 1) pushed.write(Math.sin(2 * Math.PI * hz * i / from), (each) => emitted.push(each));
    // What is left when the best sine of that frequency is taken away, against what was put in, in dB.
    const settled = pulled.slice(count / 2);
    const n = settled.length;
    let [c, s] = [0, 0];
    settled.forEach((x, i) => {
      c += x * Math.cos(2 * Math.PI * hz * i / to) * 2 / n;
      s += x * Math.sin(2 * Math.PI * hz * i / to) * 2 / n;
    });
    const db = (power) => 10 * Math.log10(power / n / 0.5 + 1e-20);
    return {
      level: db(settled.reduce((sum, x) => sum + x * x, 0)),
      rest: db(settled.reduce((sum, x, i) =>
        sum + (x - c * Math.cos(2 * Math.PI * hz * i / to) - s * Math.sin(2 * Math.PI * hz * i / to)) ** 2, 0)),
      same: emitted.every((each, i) => i >= count || each === pulled[i]),
      taken: taken / (count * from / to),
    };
}"""


@pytest.mark.parametrize(("from_hz", "to_hz"), [(24_000, 44_100), (24_000, 48_000), (16_000, 48_000), (48_000, 48_000)])
def test_resampling_adds_nothing_audible(open_page: OpenPage, from_hz: int, to_hz: int) -> None:
    found = open_page().evaluate(RESAMPLE, [from_hz, to_hz, 1_000])
    assert found["level"] == pytest.approx(0, abs=0.05)
    assert found["rest"] < -60
    assert found["same"] is True  # whether it is pulled or pushed
    assert found["taken"] == pytest.approx(1, abs=0.001)


def test_what_a_slower_rate_cannot_carry_does_not_come_back_as_something_else(open_page: OpenPage) -> None:
    assert open_page().evaluate(RESAMPLE, [96_000, 48_000, 30_000])["level"] < -60
