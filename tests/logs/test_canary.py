"""A canary phrase is said, asked and answered, a canary key opens every door, every fault happens: neither gets out.

The faults' own exceptions quote both, as vendors' do. What a client is told of its own speech is excepted; so is nothing else.
"""

from __future__ import annotations

import io
import logging

import attrs
import pytest
import structlog
import trio
import trio_websocket

from flare_actors.agent import Agent
from flare_actors.config import Secret
from flare_actors.conversation import events, notices
from flare_actors.conversation.settings import Settings, Timeouts
from flare_actors.errors import FlareError
from flare_actors.logs import LogObserver, configure_logs, describe_exception
from flare_actors.observe import Observer
from flare_actors.ports import AudioIn
from flare_actors.providers.scripted import tone
from flare_actors.server import serve
from flare_actors.talk import Recording, talk
from flare_actors.testing import scripted_agent
from flare_actors.testing.faults import (
    Act,
    At,
    Fault,
    FaultyLanguageModel,
    FaultyRecognizer,
    FaultySynthesizer,
    FaultyVoiceActivity,
)
from flare_actors.wire import flare

PHRASE = "canary phrase"
KEY = "canary-key"
RATE = 16_000
SPEECH = bytes(RATE // 2) + tone(0.8) + bytes(RATE * 3)
SETTINGS = Settings(
    welcome=f"Welcome, {PHRASE}.", apology=f"Sorry, {PHRASE}.", idle_prompts=(f"Still there, {PHRASE}?",)
)
STREAM_FAULTS = [
    Fault(at=at, act=act)
    for at in At
    for act in (Act.HANG, Act.RAISE, Act.CRITICAL, Act.CRASH, Act.CRASH_GROUP, Act.STOP, Act.GIVE)
    if not (at is At.CALL and act is Act.HANG)
    and not (act is Act.STOP and at not in (At.FIRST, At.MIDDLE))
    and not (act is Act.GIVE and at not in (At.FIRST, At.MIDDLE))
]
WRAPPERS = {
    "stt": ("recognizer", FaultyRecognizer),
    "llm": ("language_model", FaultyLanguageModel),
    "tts": ("synthesizer", FaultySynthesizer),
    "vad": ("voice_activity", FaultyVoiceActivity),
}


def agent(stage: str | None = None, *faults: Fault | None) -> Agent:
    """An agent whose every word is the canary's, with faults in one of its stages."""
    healthy = scripted_agent(
        transcripts=[PHRASE] * 9, answers=[f"You said {PHRASE}."], instructions=PHRASE, settings=SETTINGS
    )
    if stage is None:
        return healthy
    name, wrapper = WRAPPERS[stage]
    parts = {each: getattr(healthy, each) for each, _ in WRAPPERS.values()}
    parts[name] = wrapper(inner=parts[name], faults=faults)
    return scripted_agent(**parts, instructions=PHRASE, settings=SETTINGS)


@pytest.fixture
def log():
    stream = io.StringIO()
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    configure_logs(log_format="json", level="debug", stream=stream)  # no help from knowing the key
    yield stream
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


async def converse(talking_to: Agent, *observers: Observer) -> str:
    """Hold a conversation and give all that a log, a traceback or an error of it could show."""
    seen: list[object] = []
    try:
        report = await talk(
            talking_to,
            Recording(sample_rate=RATE, pcm=SPEECH * 2),
            watch=seen.append,
            observers=[LogObserver(), *observers],
        )
        seen.append(report)
    except (FlareError, ExceptionGroup) as error:
        seen += [describe_exception(error), *([error] if isinstance(error, FlareError) else [])]
    errors = [each.message for each in seen if isinstance(each, notices.ErrorRaised)]
    reprs = [repr(each) for each in seen if isinstance(each, (*notices.Notice.__args__, FlareError, str))]
    return "\n".join(errors + reprs)


def names(fault: Fault) -> str:
    return f"{fault.at.value}-{fault.act.value}"


@pytest.mark.no_cover  # see conftest.py
@pytest.mark.parametrize("stage", ["stt", "llm", "tts"])
@pytest.mark.parametrize("fault", STREAM_FAULTS, ids=names)
async def test_no_fault_of_an_engine_tells(autojump_clock, log, stage, fault):
    shown = await converse(agent(stage, fault, None, fault, fault))
    assert '"transition"' in log.getvalue()
    assert PHRASE not in log.getvalue() + shown
    assert KEY not in log.getvalue() + shown


@pytest.mark.parametrize("at", [At.CONNECT, At.MIDDLE])
@pytest.mark.parametrize("act", [Act.RAISE, Act.CRITICAL, Act.CRASH, Act.CRASH_GROUP])
async def test_no_fault_of_the_ear_tells(autojump_clock, log, at, act):
    shown = await converse(agent("vad", Fault(at=at, act=act, after=20), None))
    assert PHRASE not in log.getvalue() + shown
    assert KEY not in log.getvalue() + shown


async def test_a_fault_is_logged_with_its_stage_and_kind(autojump_clock, log):
    await converse(agent("llm", Fault(at=At.FIRST, act=Act.CRASH)))
    (line,) = [line for line in log.getvalue().splitlines() if '"fault"' in line]
    assert '"stage": "llm"' in line
    assert "VendorCrash" in line


async def test_no_bug_tells(autojump_clock, log):
    class Buggy(Observer):
        def on_step(self, *_):
            raise ValueError(PHRASE, KEY)

    shown = await converse(agent(), Buggy())
    assert "ValueError" in shown
    assert PHRASE not in log.getvalue() + shown
    assert KEY not in log.getvalue() + shown


async def test_without_a_fault_the_canary_is_heard_and_not_logged(autojump_clock, log):
    """The test's own test: the canary does go through the session."""
    said = []
    await talk(agent(), Recording(sample_rate=RATE, pcm=SPEECH), watch=said.append, observers=[LogObserver()])
    assert any(PHRASE in each.text for each in said if isinstance(each, notices.TranscriptReceived))
    assert any(PHRASE in each.text for each in said if isinstance(each, notices.ResponseTextDone))
    assert PHRASE not in log.getvalue()


# --- Through a server ----------------------------------------------------------------------------------------------------


# Real sockets, so real time: what hangs must time out soon.
HASTY = attrs.evolve(SETTINGS, welcome=None, timeouts=Timeouts(stt_final_s=0.3, llm_first_s=0.3, tts_first_s=0.3))


async def get(port: int, path: str, *headers: str) -> bytes:
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        head = [f"GET {path} HTTP/1.1", f"Host: localhost:{port}", *headers]
        await stream.send_all("\r\n".join([*head, "", ""]).encode())
        return b"".join([chunk async for chunk in stream])


@pytest.mark.parametrize("stage", ["stt", "llm", "tts"])
@pytest.mark.parametrize("act", [Act.HANG, Act.CRASH, Act.CRITICAL])
async def test_a_server_tells_nothing_either(log, stage, act):
    errors: list[str] = []
    bodies: list[bytes] = []
    async with trio.open_nursery() as nursery:

        async def run(task_status) -> None:
            await serve(
                attrs.evolve(agent(stage, Fault(at=At.FIRST, act=act)), settings=HASTY),
                port=0,
                api_keys=[KEY],
                observers=[LogObserver()],
                task_status=task_status,
            )

        server = await nursery.start(run)
        url = f"ws://localhost:{server.port}/flare"
        upgrade = (
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {KEY}",
        )
        bodies.append(await get(server.port, "/flare", f"Authorization: Bearer wrong-{KEY}", *upgrade))
        async with trio_websocket.open_websocket_url(url, extra_headers=[("Authorization", f"Bearer {KEY}")]) as link:
            await link.send_message(flare.encode_client(flare.StartSession()))
            await link.send_message(f'{{"type": "{PHRASE}", "api_key": "{KEY}"}}')
            await link.send_message(flare.encode_client(events.ConversationStartRequested()))
            if stage == "stt":
                said = tone(0.8) + bytes(RATE * 2)
                for start in range(0, len(said), 6_400):
                    await link.send_message(flare.encode_client(AudioIn(said[start : start + 6_400])))
            else:
                await link.send_message(flare.encode_client(events.TextReceived(text=PHRASE)))
            with trio.fail_after(60):
                try:
                    while len(errors) < 2:  # one for the message that is none, one for the fault
                        message = flare.decode_server(await link.get_message())
                        if isinstance(message, notices.ErrorRaised):
                            errors.append(message.message)
                except trio_websocket.ConnectionClosed:
                    await link._stream.aclose()  # the library forgets to, where the server closes first
            bodies.append(await get(server.port, f"/healthz?key={KEY}", "Connection: close"))
        nursery.cancel_scope.cancel()
    told = "\n".join(errors) + repr(bodies) + log.getvalue()
    assert len(errors) == 2
    assert b"401" in bodies[0]
    assert b"200" in bodies[1]
    assert PHRASE not in told
    assert KEY not in told


def test_a_known_key_is_taken_out_of_whatever_line_it_gets_into():
    stream = io.StringIO()
    configure_logs(log_format="json", stream=stream, secrets=[Secret(KEY)])
    structlog.get_logger().info("somebody was careless", note=f"GET /?key={KEY}")
    structlog.reset_defaults()
    assert KEY not in stream.getvalue()
