"""Whole sessions with scripted engines on virtual time: what is supposed to happen when nothing goes wrong."""

from __future__ import annotations

import attrs
import pytest
import trio
import trio.lowlevel
from session_kit import SILENCE, listening, talking
from trio.testing import MockClock

from flare_actors.conversation.commands import StartStt
from flare_actors.conversation.events import ConversationEndRequested, ConversationStartRequested
from flare_actors.conversation.notices import (
    ErrorRaised,
    HearingReady,
    NothingHeard,
    ResponseTextDelta,
    ResponseTextDone,
    SessionEnded,
    SessionStarted,
    StateChanged,
    TurnEnded,
    TurnMetrics,
    TurnStarted,
    UserSpeechStopped,
)
from flare_actors.conversation.settings import Settings
from flare_actors.conversation.states import Reason, State, SttMode, TurnKind
from flare_actors.errors import SessionClosed, SessionError, UnsupportedLocale
from flare_actors.ports import AudioOut
from flare_actors.providers.scripted import ScriptedLanguageModel, ScriptedRecognizer, ScriptedSynthesizer, tone
from flare_actors.session import open_session, run_session
from flare_actors.testing import MemoryClient, memory_link, scripted_agent

S = State


async def test_a_spoken_question_is_answered_aloud_and_the_floor_is_the_users_again(autojump_clock: MockClock) -> None:
    agent = scripted_agent(transcripts=["what is it"], answers=["One two three. Four five six."])
    async with listening(agent) as talk:
        await talk.ask()
        await talk.wait_turns(1)
        await talk.client.wait_for(HearingReady, count=2)
    assert talk.states() == [
        S.INITIALIZING,
        S.LISTENING,
        S.PROCESSING_SPEECH,
        S.PREPARING_RESPONSE,
        S.PLAYING_RESPONSE,
        S.LISTENING,
        S.ENDED,
    ]
    assert talk.said() == ["what is it"]
    assert talk.heard() == ["One two three. Four five six."]
    # 29 characters at 15 a second; nothing is lost on the way, and every frame carries its turn.
    assert len(talk.client.audio(1)) == pytest.approx(28 / 15 * 32_000, abs=4)
    assert isinstance(talk.client.received[0], SessionStarted)
    assert talk.client.received[-1] == SessionEnded(reason=Reason.SESSION_ENDED)


async def test_the_welcome_is_spoken_before_anything_is_heard(autojump_clock: MockClock) -> None:
    async with listening(scripted_agent(settings=Settings(welcome="Hello there."))) as talk:
        pass
    assert talk.states() == [S.INITIALIZING, S.PREPARING_WELCOME, S.PLAYING_WELCOME, S.LISTENING, S.ENDED]
    assert talk.heard() == ["Hello there."]
    assert talk.client.all(TurnStarted) == [TurnStarted(turn=1, kind=TurnKind.WELCOME)]
    assert agent_requests(talk.agent.language_model) == []


def agent_requests(model: object) -> list[list[str]]:
    assert isinstance(model, ScriptedLanguageModel)
    return [[message.content for message in request] for request in model.requests]


async def test_what_was_said_before_is_shown_to_the_model_with_the_instructions_first(
    autojump_clock: MockClock,
) -> None:
    agent = scripted_agent(transcripts=["first", "second"], answers=["One.", "Two."], instructions="Be short.")
    async with listening(agent) as talk:
        for turn in (1, 2):
            await talk.ask()
            await talk.wait_turns(turn)
    assert agent_requests(agent.language_model) == [["Be short.", "first"], ["Be short.", "first", "One.", "second"]]


async def test_two_conversations_follow_each_other_in_one_session(autojump_clock: MockClock) -> None:
    agent = scripted_agent(transcripts=["first", "second"], settings=Settings(welcome="Hi."))
    async with listening(agent) as talk:
        await talk.ask()
        await talk.wait_turns(2)
        await talk.client.send(ConversationEndRequested())
        await talk.client.wait_for(StateChanged, where=lambda m: m.new is S.IDLE)
        await trio.sleep(5)
        await talk.client.send(ConversationStartRequested())
        await talk.wait_turns(3)
        await talk.ask()
        await talk.wait_turns(4)
    one = [S.PREPARING_WELCOME, S.PLAYING_WELCOME, S.LISTENING]
    two = [S.PROCESSING_SPEECH, S.PREPARING_RESPONSE, S.PLAYING_RESPONSE, S.LISTENING]
    assert talk.states() == [S.INITIALIZING, *one, *two, S.IDLE, S.INITIALIZING, *one, *two, S.ENDED]
    assert talk.said() == ["first", "second"]
    assert [turn.turn for turn in talk.client.all(TurnStarted)] == [1, 2, 3, 4]
    # The second conversation knows nothing of the first.
    assert agent_requests(agent.language_model)[-1] == ["Hi.", "second"]


async def test_a_conversation_can_be_ended_in_every_state_and_another_one_started(autojump_clock: MockClock) -> None:
    model = ScriptedLanguageModel(script=["One two three. Four five six."], first_token_s=1.0)
    agent = scripted_agent(
        language_model=model,
        synthesizer=ScriptedSynthesizer(first_audio_s=1.0),
        recognizer=ScriptedRecognizer(delay_s=0.5),
        settings=Settings(welcome="Hello there."),
    )
    for state in (S.PREPARING_WELCOME, S.PLAYING_WELCOME, S.LISTENING, S.PROCESSING_SPEECH, S.PREPARING_RESPONSE,
                  S.PLAYING_RESPONSE):  # fmt: skip
        async with talking(agent) as talk:
            if state not in {S.PREPARING_WELCOME, S.PLAYING_WELCOME}:
                await talk.wait_turns(1)
                talk.nursery.start_soon(talk.ask)
            await talk.wait_state(state)
            await talk.client.send(ConversationEndRequested())
            await talk.wait_state(S.IDLE)
            await trio.sleep(2)
            assert talk.session.statistics().replies_running == 0
            heard = len(talk.client.audio())
            await talk.client.send(ConversationStartRequested())
            welcomes = 1 if state in {S.PREPARING_WELCOME, S.PLAYING_WELCOME} else 2
            await talk.client.wait_for(StateChanged, count=2, where=lambda m: m.new is S.PLAYING_WELCOME) if (
                state is not S.PREPARING_WELCOME
            ) else await talk.client.wait_for(StateChanged, where=lambda m: m.new is S.PLAYING_WELCOME)
            await talk.client.wait_for(TurnEnded, where=lambda m: m.reason is None, count=welcomes)
            assert len(talk.client.audio()) > heard


async def test_nothing_is_sent_of_a_conversation_that_has_ended(autojump_clock: MockClock) -> None:
    async with listening(
        scripted_agent(answers=["A long answer that goes on and on and on for quite a while."])
    ) as talk:
        await talk.ask()
        await talk.client.wait_for(AudioOut, count=5)
        await talk.client.send(ConversationEndRequested())
        await talk.wait_state(S.IDLE)
        await trio.lowlevel.checkpoint()
        received = len(talk.client.received)
        await trio.sleep(10)
        assert len(talk.client.received) == received


async def test_an_empty_transcript_keeps_listening_and_the_client_is_told(autojump_clock: MockClock) -> None:
    async with listening(scripted_agent(transcripts=["", "now with words"])) as talk:
        await talk.ask()
        assert (await talk.client.wait_for(NothingHeard)).utterance == 1
        assert talk.session.conversation.state is S.LISTENING
        await talk.ask()
        await talk.wait_turns(1)
    assert talk.said() == ["now with words"]
    assert talk.states().count(S.PROCESSING_SPEECH) == 1


async def test_a_knock_never_reaches_the_recogniser(autojump_clock: MockClock) -> None:
    recognizer = ScriptedRecognizer()
    async with listening(scripted_agent(recognizer=recognizer)) as talk:
        await talk.client.speak(tone(0.15))
        await talk.client.speak(SILENCE)
        await talk.client.wait_for(NothingHeard)
    assert recognizer.heard_s == []


async def test_the_recogniser_hears_the_pre_roll_the_speech_and_the_pause(autojump_clock: MockClock) -> None:
    recognizer = ScriptedRecognizer()
    async with listening(scripted_agent(recognizer=recognizer)) as talk:
        await talk.client.speak(SILENCE)
        await talk.ask(speech_s=1.0)
        await talk.wait_turns(1)
        (stopped,) = talk.client.all(UserSpeechStopped)
    assert stopped.speech_s == pytest.approx(1.0, abs=0.1)
    assert recognizer.heard_s == [pytest.approx(0.3 + 1.0 + 0.48, abs=0.1)]


@attrs.define
class _Asked:
    """Notes with which settings it is asked."""

    inner: ScriptedRecognizer
    sample_rate: int = 16_000
    locales: tuple[str, ...] | None = None
    asked: list[tuple[str, SttMode]] = attrs.field(factory=list)

    def transcribe(self, audio, *, locale, mode):
        self.asked.append((locale, mode))
        return self.inner.transcribe(audio, locale=locale, mode=mode)


async def test_locale_mode_and_silence_threshold_go_with_every_start_of_stt(autojump_clock: MockClock) -> None:
    settings = Settings(locale="de-AT", stt_mode=SttMode.BATCH, endpoint_s=0.7)
    recognizer = _Asked(ScriptedRecognizer())
    async with listening(scripted_agent(recognizer=recognizer), settings=settings) as talk:
        for turn in (1, 2):
            await talk.ask()
            await talk.wait_turns(turn)
        await talk.client.wait_for(HearingReady, count=3)
        starts = talk.log.commanded(StartStt)
    assert len(starts) >= 3
    assert {(s.locale, s.mode, s.endpoint_s) for s in starts} == {("de-AT", SttMode.BATCH, 0.7)}
    assert set(recognizer.asked) == {("de-AT", SttMode.BATCH)}
    assert len(recognizer.asked) == 3  # one ahead of every utterance
    metrics = talk.client.all(TurnMetrics)
    assert [m.endpoint_wait_s for m in metrics] == [pytest.approx(0.7, abs=0.02)] * 2


async def test_an_unsupported_locale_is_refused_before_anything_starts() -> None:
    agent = scripted_agent(recognizer=ScriptedRecognizer(locales=("en",)))
    with pytest.raises(UnsupportedLocale, match="ScriptedRecognizer does not support locale 'fi'"):
        async with open_session(agent, settings=Settings(locale="fi")):
            raise AssertionError("must not open")


async def test_the_text_comes_as_it_is_written_and_whole_at_the_end(autojump_clock: MockClock) -> None:
    model = ScriptedLanguageModel(script=["One two three. Four five six."], gap_s=0.1)
    async with listening(scripted_agent(language_model=model)) as talk:
        await talk.ask()
        await talk.wait_turns(1)
    deltas = [m.text for m in talk.client.all(ResponseTextDelta)]
    assert len(deltas) == 6
    assert "".join(deltas) == "One two three. Four five six."
    assert [m.text for m in talk.client.all(ResponseTextDone)] == ["One two three. Four five six."]


async def test_speech_begins_with_the_first_phrase_not_with_the_whole_answer(autojump_clock: MockClock) -> None:
    model = ScriptedLanguageModel(script=["One two three. Four five six seven eight nine ten."], gap_s=0.3)
    async with listening(scripted_agent(language_model=model)) as talk:
        await talk.ask()
        await talk.client.wait_for(AudioOut)
        done = [m for m in talk.client.received if isinstance(m, ResponseTextDone)]
        await talk.wait_turns(1)
    assert done == []
    (metrics,) = talk.client.all(TurnMetrics)
    assert metrics.total_s is not None
    assert metrics.total_s == pytest.approx(0.48 + 3 * 0.3, abs=0.35)


async def test_a_recording_as_fast_as_it_can_be_read_gives_the_same_turns(autojump_clock: MockClock) -> None:
    agent = scripted_agent(transcripts=["one", "two"], answers=["First.", "Second."])
    async with listening(agent, realtime=False) as talk:
        recording = bytes(16_000) + tone(1.0) + SILENCE + tone(0.7) + SILENCE
        await talk.client.speak(recording, paced=False)
        await talk.wait_turns(1)
        await talk.client.wait_for(StateChanged, where=lambda m: m.new is S.PLAYING_RESPONSE)
        while len(talk.said()) < 2:
            await trio.sleep(0.01)
    assert talk.said() == ["one", "two"]
    assert talk.session.statistics().dropped_audio_s == 0


async def test_a_recording_in_one_single_message_loses_nothing(autojump_clock: MockClock) -> None:
    recognizer = ScriptedRecognizer()
    async with listening(scripted_agent(recognizer=recognizer), realtime=False) as talk:
        await talk.client.speak(tone(8.0) + SILENCE, chunk_s=10.0, paced=False)
        await talk.wait_turns(1)
        assert talk.session.statistics().dropped_audio_s == 0
    assert recognizer.heard_s[0] == pytest.approx(8.48, abs=0.1)


async def test_silence_for_long_prompts_once_and_then_ends_the_conversation(autojump_clock: MockClock) -> None:
    settings = Settings(idle_prompts=("Are you there?",), idle_prompt_s=20, idle_end_s=60, session_idle_s=100)
    async with listening(scripted_agent(settings=settings)) as talk:
        await talk.client.wait_closed()
    assert talk.heard() == ["Are you there?"]
    ends = [(m.new, m.reason) for m in talk.client.all(StateChanged)][-2:]
    assert ends == [(S.IDLE, Reason.IDLE), (S.ENDED, Reason.IDLE)]
    assert talk.client.received[-1] == SessionEnded(reason=Reason.IDLE)


# --- What an embedder asks for -------------------------------------------------------------------------------------------


async def test_asking_too_early_or_too_late_is_told_to_the_embedder(autojump_clock: MockClock) -> None:
    async with open_session(scripted_agent()) as session:
        with pytest.raises(SessionError, match=r"start_conversation\(\) first"):
            session.say("hello")
        session.start_conversation()
        session.say("Asked in one breath.")  # the start is under way: it counts
        with pytest.raises(SessionError, match="at least one word"):
            session.say("  ")
        session.end()
        assert await session.wait_ended() is Reason.SESSION_ENDED
        for ask in (session.start_conversation, session.end_conversation, lambda: session.say("too late")):
            with pytest.raises(SessionClosed, match="open a new one"):
                ask()
        session.end()  # harmless
        session.shutdown(1)


async def test_a_request_that_makes_no_sense_is_answered_and_changes_nothing(autojump_clock: MockClock) -> None:
    async with talking(scripted_agent(), start=False) as talk:
        await talk.client.send(ConversationEndRequested())
        assert (await talk.client.wait_for(ErrorRaised)).code == "not_started"
        await talk.client.send(ConversationStartRequested())
        await talk.client.send(ConversationStartRequested())
        assert (await talk.client.wait_for(ErrorRaised, count=2)).code == "already_started"
        await talk.client.wait_for(HearingReady)
    assert talk.states() == [S.INITIALIZING, S.LISTENING, S.ENDED]


async def test_the_simple_form_closes_a_link_that_it_cannot_serve(autojump_clock: MockClock) -> None:
    _, link = memory_link()
    agent = scripted_agent(recognizer=ScriptedRecognizer(locales=("en",)))
    with pytest.raises(UnsupportedLocale):
        await run_session(link, agent, settings=Settings(locale="fi"))
    assert link.closed


async def test_the_simple_form_serves_one_link_and_ends_with_it(autojump_clock: MockClock) -> None:
    client, link = memory_link()
    reasons = []

    async def serve() -> None:
        reasons.append(await run_session(link, scripted_agent(settings=Settings(welcome="Hi."))))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.run)
        nursery.start_soon(serve)
        await client.send(ConversationStartRequested())
        await client.wait_for(TurnEnded)
        client.close()
    assert reasons == [Reason.CLIENT_DISCONNECTED]
    assert link.closed


async def test_sessions_do_not_disturb_each_other(autojump_clock: MockClock) -> None:
    agent = scripted_agent(answers=lambda messages: f"You said {messages[-1].content}.")

    async def talk_once(name: str, said: list[str], pause_s: float) -> None:
        own = attrs.evolve(agent, recognizer=ScriptedRecognizer(script=[name]))
        async with listening(own) as talk:
            await trio.sleep(pause_s)
            await talk.ask()
            await talk.wait_turns(1)
        said.extend(talk.heard())

    said: list[str] = []
    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(talk_once, f"name {number}", said, number * 0.3)
    assert sorted(said) == [f"You said name {number}." for number in range(5)]


def test_a_memory_client_is_what_it_says() -> None:
    client, link = memory_link(input_rate=8_000, output_rate=24_000)
    assert isinstance(client, MemoryClient)
    assert (client.input_format.sample_rate, client.output_format.sample_rate) == (8_000, 24_000)
    assert not link.closed
