"""Engines and vendors that fail: at every stage, in every way; the conversation copes, and the next turn is served."""

from __future__ import annotations

import itertools
import math
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

import pytest
import trio
from session_kit import Talk, listening, talking
from trio.testing import MockClock

from flare_actors.agent import Agent
from flare_actors.conversation.notices import (
    ErrorRaised,
    HearingReady,
    ResponseTextDelta,
    ResponseTextDone,
    SessionEnded,
    StateChanged,
    TurnEnded,
)
from flare_actors.conversation.settings import Settings, Timeouts
from flare_actors.conversation.states import Endpointing, Output, Reason, State, SttMode, TurnKind
from flare_actors.errors import ProviderError, ProviderTimeout
from flare_actors.ports import AudioOut, HeardAudio, Phrase, SpeechAudio, TextDelta, Transcript, Usage, WordTiming
from flare_actors.providers.scripted import (
    EnergyVoiceActivity,
    ScriptedLanguageModel,
    ScriptedRecognizer,
    ScriptedSynthesizer,
)
from flare_actors.testing import (
    Act,
    At,
    Fault,
    FaultyLanguageModel,
    FaultyRecognizer,
    FaultySynthesizer,
    FaultyVoiceActivity,
    VendorCrash,
    scripted_agent,
)

S = State
DEFAULTS = Timeouts()
ANSWER = "One two three. Four five six."

FAILING = (Act.RAISE, Act.CRASH, Act.CRASH_GROUP)


def faults(*places: At, acts: tuple[Act, ...] = (*FAILING, Act.HANG)) -> list[Fault]:
    return [Fault(at=at, act=act, after=2) for at, act in itertools.product(places, acts)]


CALLS = faults(At.CALL, acts=FAILING)


def name(fault: Fault) -> str:
    what = "" if fault.act is not Act.GIVE else f"-{type(fault.item).__name__}"
    return f"{fault.at.value}-{fault.act.value}{what}"


def with_llm(*planned: Fault | None, answers: list[str] | None = None, **settings: object) -> Agent:
    model = ScriptedLanguageModel(script=answers or [ANSWER], gap_s=0.1)
    return scripted_agent(
        language_model=FaultyLanguageModel(inner=model, faults=planned),
        settings=Settings(**settings),  # type: ignore[arg-type]
    )


def with_tts(*planned: Fault | None, **settings: object) -> Agent:
    return scripted_agent(
        synthesizer=FaultySynthesizer(inner=ScriptedSynthesizer(), faults=planned),
        answers=[ANSWER],
        settings=Settings(**settings),  # type: ignore[arg-type]
    )


def with_stt(*planned: Fault | None, recognizer: ScriptedRecognizer | None = None) -> Agent:
    return scripted_agent(
        recognizer=FaultyRecognizer(inner=recognizer or ScriptedRecognizer(), faults=planned), answers=[ANSWER]
    )


async def the_next_turn_is_served(talk: Talk) -> None:
    """Whatever happened: from LISTENING on, a question gets its answer."""
    await talk.wait_state(S.LISTENING)
    assert talk.session.ended is None
    before = talk.session.conversation.turns
    await talk.ask()
    ended = await talk.client.wait_for(TurnEnded, where=lambda m: m.turn > before)
    assert (ended.reason, ended.heard) == (None, ANSWER)
    assert len(talk.client.audio(ended.turn)) > 32_000


def told(talk: Talk) -> list[tuple[str, bool]]:
    return [(error.code, error.recoverable) for error in talk.client.all(ErrorRaised)]


def causes(talk: Talk) -> set[type[BaseException]]:
    """What a fault was at bottom."""
    found: set[type[BaseException]] = set()
    for _, error in talk.log.faults:
        assert isinstance(error, ProviderError)
        found.add(type(error.__cause__) if error.__cause__ is not None else type(error))
    return found


# --- The language model ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [*CALLS, *faults(At.CONNECT, At.FIRST)], ids=name)
async def test_a_model_that_gives_nothing_is_a_failed_turn_and_no_more(autojump_clock: MockClock, fault: Fault) -> None:
    async with listening(with_llm(fault)) as talk:
        await talk.ask()
        await talk.client.wait_for(ErrorRaised)
        await the_next_turn_is_served(talk)
    assert told(talk) == [("llm_failed", True)]
    assert talk.states()[2:5] == [S.PROCESSING_SPEECH, S.LISTENING, S.PROCESSING_SPEECH]
    assert talk.heard()[0] == ""
    assert not talk.client.audio(1)


@pytest.mark.parametrize("fault", faults(At.MIDDLE, At.END, At.CLOSE), ids=name)
async def test_what_a_model_wrote_before_it_failed_is_said_once_and_never_again(
    autojump_clock: MockClock, fault: Fault
) -> None:
    # After four tokens, the first phrase is on its way.
    fault = Fault(at=fault.at, act=fault.act, after=4)
    agent = with_llm(fault)
    async with listening(agent) as talk:
        await talk.ask()
        await talk.client.wait_for(ErrorRaised)
        await talk.wait_turns(1)
        assert agent.language_model.streams == 1
        await the_next_turn_is_served(talk)
    written = "One two three. Four" if fault.at is At.MIDDLE else ANSWER
    assert told(talk) == [("llm_failed", True)]
    assert talk.client.all(ResponseTextDone)[0].text == written
    assert talk.heard()[0] == written
    # Every character of it is spoken exactly once.
    assert len(talk.client.audio(1)) == pytest.approx(len(written.replace(". ", ".")) / 15 * 32_000, abs=2200)


@pytest.mark.parametrize(
    ("at", "after", "seconds"),
    [(At.CONNECT, 0, DEFAULTS.connect_s), (At.FIRST, 0, DEFAULTS.llm_first_s), (At.MIDDLE, 1, DEFAULTS.llm_gap_s)],
)
async def test_a_model_that_hangs_is_waited_for_as_long_as_the_defaults_say(
    autojump_clock: MockClock, at: At, after: int, seconds: float
) -> None:
    async with listening(with_llm(Fault(at=at, act=Act.HANG, after=after))) as talk:
        await talk.ask()
        asked = talk.client.all(StateChanged)[-1].at
        await talk.client.wait_for(ErrorRaised)
        ((_, error),) = talk.log.faults
        assert isinstance(error, ProviderTimeout)
        waited = talk.log.events[-1].at - asked
        # The gap is re-armed coarsely: up to an eighth less.
        assert seconds * 7 / 8 - 0.1 <= waited <= seconds + 0.2


@pytest.mark.parametrize(
    "fault",
    [
        Fault(at=At.MIDDLE, act=Act.GIVE, item=item)
        for item in (None, "a string", TextDelta(text=None), TextDelta(text=b"bytes"))  # type: ignore[arg-type]
    ],
    ids=name,
)
async def test_what_is_no_text_is_the_models_failure(autojump_clock: MockClock, fault: Fault) -> None:
    async with listening(with_llm(fault)) as talk:
        await talk.ask()
        await talk.client.wait_for(ErrorRaised)
        await the_next_turn_is_served(talk)
    assert told(talk) == [("llm_failed", True)]


@pytest.mark.parametrize("item", [TextDelta(text=""), Usage(input_tokens=1, output_tokens=2)], ids=str)
async def test_empty_pieces_and_counts_among_the_text_change_nothing(autojump_clock: MockClock, item: object) -> None:
    async with listening(with_llm(Fault(at=At.MIDDLE, act=Act.GIVE, item=item))) as talk:
        await the_next_turn_is_served(talk)
    assert told(talk) == []


async def test_an_empty_answer_is_told_instead_of_silence(autojump_clock: MockClock) -> None:
    async with listening(with_llm(Fault(at=At.FIRST, act=Act.STOP))) as talk:
        await talk.ask()
        assert (await talk.wait_turns(1)).heard == ""
        await the_next_turn_is_served(talk)
    assert told(talk) == [("empty_answer", True)]


async def test_a_model_that_never_ends_is_stopped_at_the_answers_limit(autojump_clock: MockClock) -> None:
    from flare_actors.conversation.settings import Limits

    agent = with_llm(answers=["word " * 5000], limits=Limits(answer_chars=200))
    async with listening(agent) as talk:
        await talk.ask()
        ended = await talk.wait_turns(1)
    assert len("".join(m.text for m in talk.client.all(ResponseTextDelta))) == 200
    assert len(ended.heard) <= 200


async def test_an_apology_is_spoken_when_one_is_set(autojump_clock: MockClock) -> None:
    agent = with_llm(Fault(at=At.FIRST, act=Act.CRASH), apology="Sorry, say that again.")
    async with listening(agent) as talk:
        await talk.ask()
        await talk.client.wait_for(TurnEnded, where=lambda m: m.reason is None)
        await the_next_turn_is_served(talk)
    assert "Sorry, say that again." in talk.heard()


# --- The synthesizer -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [*CALLS, *faults(At.CONNECT, At.FIRST)], ids=name)
async def test_an_answer_that_cannot_be_spoken_is_delivered_as_text(autojump_clock: MockClock, fault: Fault) -> None:
    async with listening(with_tts(fault)) as talk:
        await talk.ask()
        ended = await talk.wait_turns(1)
        assert (ended.reason, ended.heard) == (None, ANSWER)
        await the_next_turn_is_served(talk)
    assert told(talk) == [("tts_failed", True)]
    assert talk.client.all(ResponseTextDone)[0].text == ANSWER
    assert not talk.client.audio(1)


@pytest.mark.parametrize("fault", [*faults(At.MIDDLE, At.END, At.CLOSE), Fault(at=At.MIDDLE, act=Act.STOP)], ids=name)
async def test_a_synthesizer_that_fails_amid_an_answer_leaves_what_it_spoke_and_all_of_the_text(
    autojump_clock: MockClock, fault: Fault
) -> None:
    async with listening(with_tts(fault)) as talk:
        await talk.ask()
        ended = await talk.wait_turns(1)
        assert (ended.reason, ended.heard) == (None, ANSWER)
        await the_next_turn_is_served(talk)
    assert told(talk) == [("tts_failed", True)]
    assert S.PLAYING_RESPONSE in talk.states()[:6]
    spoken = len(talk.client.audio(1))
    assert spoken == (pytest.approx(fault.after * 3200, abs=2) if fault.at is At.MIDDLE else spoken)
    assert spoken > 0


@pytest.mark.parametrize(
    ("at", "seconds"),
    [(At.CONNECT, DEFAULTS.connect_s), (At.FIRST, DEFAULTS.tts_first_s), (At.MIDDLE, DEFAULTS.tts_gap_s)],
)
async def test_a_synthesizer_that_hangs_is_waited_for_as_long_as_the_defaults_say(
    autojump_clock: MockClock, at: At, seconds: float
) -> None:
    async with listening(with_tts(Fault(at=at, act=Act.HANG))) as talk:
        await talk.ask()
        asked = talk.client.all(StateChanged)[1 + 1].at
        await talk.client.wait_for(ErrorRaised)
        ((_, error),) = talk.log.faults
        assert isinstance(error, ProviderTimeout)
        assert talk.log.events[-1].at - asked == pytest.approx(seconds, abs=0.2)


@pytest.mark.parametrize(
    "item",
    [
        None,
        b"\0\0",
        SpeechAudio(phrase=0, pcm=b"\0\0\0"),
        SpeechAudio(phrase=0, pcm=None),  # type: ignore[arg-type]
        SpeechAudio(phrase=0, pcm="text"),  # type: ignore[arg-type]
        SpeechAudio(phrase=-1, pcm=b"\0\0"),
        SpeechAudio(phrase=10**12, pcm=b"\0\0"),
        SpeechAudio(phrase=None, pcm=b"\0\0"),  # type: ignore[arg-type]
        SpeechAudio(phrase=0, pcm=b"\0\0", words=(WordTiming(chars=1, end_s=math.inf),)),
        SpeechAudio(phrase=0, pcm=b"\0\0", words=(WordTiming(chars=1, end_s="soon"),)),  # type: ignore[arg-type]
        SpeechAudio(phrase=0, pcm=b"\0\0", words=("word",)),  # type: ignore[arg-type]
        SpeechAudio(phrase=0, pcm=b"\0\0", words=None),  # type: ignore[arg-type]
    ],
    ids=[
        *("nothing", "bytes", "odd", "no-pcm", "text", "phrase-before", "phrase-after", "no-phrase"),
        *("word-never", "word-soon", "no-timing", "no-words"),
    ],
)
async def test_what_is_no_audio_is_the_synthesizers_failure(autojump_clock: MockClock, item: object) -> None:
    async with listening(with_tts(Fault(at=At.MIDDLE, act=Act.GIVE, item=item))) as talk:
        await talk.ask()
        assert (await talk.wait_turns(1)).heard == ANSWER
        await the_next_turn_is_served(talk)
    assert told(talk) == [("tts_failed", True)]
    assert len(talk.client.audio()) % 2 == 0


class _Talkative(ScriptedSynthesizer):
    """Reads all of an answer first, and speaks every number up to the last phrase's, whether or not it was given that."""

    @asynccontextmanager
    async def synthesize(
        self, phrases: AsyncIterator[Phrase], *, locale: str
    ) -> AsyncGenerator[AsyncIterator[SpeechAudio]]:
        del locale

        async def speak() -> AsyncGenerator[SpeechAudio]:
            given = [phrase.index async for phrase in phrases]
            for index in range(given[-1] + 1):
                yield SpeechAudio(phrase=index, pcm=bytes(3200), words=(WordTiming(chars=1, end_s=0.1),))

        async with aclosing(speak()) as chunks:
            yield chunks


@pytest.mark.parametrize(
    ("answer", "failed"), [(ANSWER, False), ("One two three four. " + "\U0001f600 " * 130 + "Five six seven.", True)]
)
async def test_audio_of_a_phrase_that_was_for_the_eye_only_is_the_synthesizers_failure(
    autojump_clock: MockClock, answer: str, failed: bool
) -> None:
    async with listening(scripted_agent(synthesizer=_Talkative(), answers=[answer])) as talk:
        await talk.ask()
        assert (await talk.wait_turns(1)).heard == answer
        assert talk.session.ended is None
    assert told(talk) == ([("tts_failed", True)] if failed else [])


async def test_a_welcome_that_cannot_be_spoken_does_not_keep_the_user_waiting(autojump_clock: MockClock) -> None:
    async with listening(with_tts(Fault(at=At.FIRST, act=Act.HANG), welcome="Hello.")) as talk:
        assert talk.heard() == ["Hello."]
        await the_next_turn_is_served(talk)
    assert talk.client.all(TurnEnded)[0].reason is None


async def test_a_synthesizer_that_says_nothing_at_all_has_failed(autojump_clock: MockClock) -> None:
    silent = scripted_agent(synthesizer=ScriptedSynthesizer(sound=lambda _seconds, _rate: b""), answers=[ANSWER])
    async with listening(silent) as talk:
        await talk.ask()
        assert (await talk.wait_turns(1)).heard == ANSWER
    assert told(talk) == [("tts_failed", True)]


class _NeverOpened:
    """An engine that does not know its own rate yet."""

    locales = None
    partials = False

    @property
    def sample_rate(self) -> int:
        raise RuntimeError("call open() first")


@pytest.mark.parametrize("stage", ["stt", "tts"])
async def test_an_engine_without_a_rate_is_a_failed_engine(autojump_clock: MockClock, stage: str) -> None:
    if stage == "stt":
        agent = scripted_agent(recognizer=_NeverOpened())  # type: ignore[arg-type]
    else:
        agent = scripted_agent(synthesizer=_NeverOpened(), settings=Settings(welcome="Hi."))  # type: ignore[arg-type]
    async with talking(agent) as talk:
        await talk.client.wait_for(ErrorRaised)
        await trio.sleep(1)
        assert talk.session.ended is None
    assert told(talk)[0] == (f"{stage}_failed", True)


# --- The recogniser -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [*CALLS, *faults(At.CONNECT)], ids=name)
async def test_a_recogniser_that_does_not_open_is_tried_again_after_a_pause(
    autojump_clock: MockClock, fault: Fault
) -> None:
    async with talking(with_stt(fault)) as talk:
        failed = await talk.client.wait_for(StateChanged, where=lambda m: m.new is S.ERROR)
        recovered = await talk.client.wait_for(StateChanged, where=lambda m: m.old is S.ERROR)
        assert recovered.at - failed.at == pytest.approx(2.0)
        assert recovered.reason is Reason.ERROR_RECOVERY
        await talk.client.wait_for(HearingReady)
        await the_next_turn_is_served(talk)
    assert told(talk) == [("stt_failed", True)]
    assert failed.at == pytest.approx(DEFAULTS.connect_s if fault.act is Act.HANG else 0.0, abs=0.05)


@pytest.mark.parametrize(
    "fault",
    [
        *faults(At.FIRST),
        Fault(at=At.FIRST, act=Act.STOP),
        Fault(at=At.FIRST, act=Act.GIVE, item=None),
        Fault(at=At.MIDDLE, after=0, act=Act.GIVE, item=Transcript(text=None, final=True)),  # type: ignore[arg-type]
    ],
    ids=name,
)
async def test_an_utterance_that_is_not_understood_is_lost_and_the_next_one_is_not(
    autojump_clock: MockClock, fault: Fault
) -> None:
    async with listening(with_stt(fault)) as talk:
        await talk.ask()
        await talk.client.wait_for(ErrorRaised)
        await talk.client.wait_for(HearingReady, count=2)
        await the_next_turn_is_served(talk)
    assert told(talk) == [("stt_failed", True)]
    assert talk.states()[2:4] == [S.ERROR, S.LISTENING]


async def test_a_recogniser_that_hangs_is_waited_for_as_long_as_the_default_says(autojump_clock: MockClock) -> None:
    async with listening(with_stt(Fault(at=At.FIRST, act=Act.HANG))) as talk:
        await talk.ask()
        failed = await talk.client.wait_for(StateChanged, where=lambda m: m.new is S.ERROR)
        # One second of speech, 0.48 s of silence, and then the transcript is due.
        assert failed.at == pytest.approx(1.48 + DEFAULTS.stt_final_s, abs=0.1)


@pytest.mark.parametrize("fault", faults(At.CLOSE), ids=name)
async def test_a_transcript_counts_whatever_the_recogniser_does_afterwards(
    autojump_clock: MockClock, fault: Fault
) -> None:
    async with listening(with_stt(fault)) as talk:
        await talk.ask()
        assert (await talk.wait_turns(1)).heard == ANSWER
        await the_next_turn_is_served(talk)
        await trio.sleep(10)
    assert told(talk) == []
    assert len(talk.log.faults) == 1


async def test_a_recogniser_with_an_endpoint_of_its_own_is_not_ahead_of_ours(autojump_clock: MockClock) -> None:
    class Hasty(ScriptedRecognizer):
        def transcribe(self, audio, *, locale, mode):
            from contextlib import asynccontextmanager

            @asynccontextmanager
            async def stream():
                async def run():
                    await anext(audio)
                    yield Transcript(text="already", final=True)

                transcripts = run()
                yield transcripts
                await transcripts.aclose()

            return stream()

    async with listening(scripted_agent(recognizer=Hasty(), answers=[ANSWER])) as talk:
        await the_next_turn_is_served(talk)
    assert talk.said() == ["already"]
    assert told(talk) == []


async def test_a_recogniser_that_fails_while_the_agent_speaks_is_back_before_the_turn_ends(
    autojump_clock: MockClock,
) -> None:
    # The second stream, which is opened ahead while the first answer plays, fails at once.
    agent = scripted_agent(
        recognizer=FaultyRecognizer(
            inner=ScriptedRecognizer(), faults=[None, Fault(at=At.CONNECT, act=Act.CRASH), None]
        ),
        language_model=ScriptedLanguageModel(script=["A long answer. " * 6, ANSWER]),
    )
    async with listening(agent) as talk:
        await talk.ask()
        await talk.client.wait_for(ErrorRaised)
        assert talk.session.conversation.state is not S.ERROR
        await talk.wait_turns(1)
        await the_next_turn_is_served(talk)
    assert S.ERROR not in talk.states()


async def test_a_slow_recogniser_neither_delays_a_barge_in_nor_grows(autojump_clock: MockClock) -> None:
    # 45 ms of work for each piece of 32 ms: it falls behind for as long as the user speaks.
    recognizer = FaultyRecognizer(inner=ScriptedRecognizer(), piece_s=0.045)
    long = "This is a rather long answer that goes on and on. " * 5
    async with listening(scripted_agent(recognizer=recognizer, answers=[long, ANSWER])) as talk:
        await talk.ask(speech_s=2.0)
        await talk.wait_audio(1, 1.0)
        started = trio.current_time()
        talk.nursery.start_soon(lambda: talk.ask_until_the_end(speech_s=2.0, level=-10))
        await talk.client.wait_for(StateChanged, where=lambda m: m.reason is Reason.BARGE_IN)
        assert trio.current_time() - started < 0.4
        await talk.client.wait_for(TurnEnded, where=lambda m: m.reason is None)
    assert told(talk) == []


async def test_a_recogniser_that_never_catches_up_gives_up_the_oldest_utterances(autojump_clock: MockClock) -> None:
    recognizer = FaultyRecognizer(inner=ScriptedRecognizer(delay_s=7.0))
    settings = Settings(endpointing=Endpointing.FIXED)  # who never waits for an answer is waited for longer
    async with listening(scripted_agent(recognizer=recognizer, answers=[ANSWER], settings=settings)) as talk:
        for _ in range(12):
            await talk.ask(speech_s=0.5)
        assert talk.session._tree.recognizer.given_up > 0
        assert len(talk.session._tree.recognizer._waiting) <= talk.session._tree.recognizer.WAITING
        await talk.client.wait_for(TurnEnded, where=lambda m: m.reason is None)


# --- The voice activity detection -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        *faults(At.CONNECT),
        *[Fault(at=At.MIDDLE, act=act, after=50) for act in FAILING],
        *[Fault(at=At.MIDDLE, act=Act.GIVE, item=item, after=50) for item in (None, "loud", math.nan, 1.5, -0.1)],
    ],
    ids=name,
)
async def test_an_ear_that_breaks_is_opened_again(autojump_clock: MockClock, fault: Fault) -> None:
    ear = FaultyVoiceActivity(inner=EnergyVoiceActivity(), faults=[fault])
    async with talking(scripted_agent(voice_activity=ear, answers=[ANSWER])) as talk:
        if fault.at is At.MIDDLE:
            await talk.client.wait_for(HearingReady)
            await talk.ask()
        await talk.client.wait_for(ErrorRaised)
        await the_next_turn_is_served(talk)
    assert told(talk) == [("vad_failed", True)]
    assert S.ERROR in talk.states()


# --- Again and again ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["stt", "llm", "tts", "vad"])
@pytest.mark.parametrize("act", [Act.CRASH, Act.HANG])
async def test_the_same_failure_three_times_in_a_row_ends_the_session_with_a_reason(
    autojump_clock: MockClock, stage: str, act: Act
) -> None:
    always = Fault(at=At.CONNECT, act=act)
    agent = {
        "stt": lambda: scripted_agent(recognizer=FaultyRecognizer(inner=ScriptedRecognizer(), always=always)),
        "llm": lambda: scripted_agent(language_model=FaultyLanguageModel(inner=ScriptedLanguageModel(), always=always)),
        "tts": lambda: scripted_agent(synthesizer=FaultySynthesizer(inner=ScriptedSynthesizer(), always=always)),
        "vad": lambda: scripted_agent(voice_activity=FaultyVoiceActivity(inner=EnergyVoiceActivity(), always=always)),
    }[stage]()
    async with talking(agent) as talk:
        if stage in {"llm", "tts"}:
            await talk.client.wait_for(HearingReady)
            for _ in range(3):
                await talk.ask_until_the_end()
                await trio.sleep(10)
        await talk.client.wait_closed()
    assert told(talk) == [(f"{stage}_failed", True)] * 2 + [(f"{stage}_failed", False)]
    assert talk.client.received[-1] == SessionEnded(reason=Reason.CRITICAL_ERROR)
    assert talk.session.ended is Reason.CRITICAL_ERROR
    assert len(talk.log.faults) == 3


@pytest.mark.parametrize("stage", ["stt", "llm", "tts", "vad"])
async def test_a_failure_that_nothing_can_help_ends_the_session_at_once(autojump_clock: MockClock, stage: str) -> None:
    always = Fault(at=At.CONNECT, act=Act.CRITICAL)
    agent = {
        "stt": lambda: scripted_agent(recognizer=FaultyRecognizer(inner=ScriptedRecognizer(), always=always)),
        "llm": lambda: scripted_agent(language_model=FaultyLanguageModel(inner=ScriptedLanguageModel(), always=always)),
        "tts": lambda: scripted_agent(synthesizer=FaultySynthesizer(inner=ScriptedSynthesizer(), always=always)),
        "vad": lambda: scripted_agent(voice_activity=FaultyVoiceActivity(inner=EnergyVoiceActivity(), always=always)),
    }[stage]()
    async with talking(agent) as talk:
        if stage in {"llm", "tts"}:
            await talk.client.wait_for(HearingReady)
            await talk.ask_until_the_end()
        await talk.client.wait_closed()
    assert told(talk) == [(f"{stage}_failed", False)]
    assert talk.client.received[-1] == SessionEnded(reason=Reason.CRITICAL_ERROR)


async def test_failures_with_successes_between_them_are_not_in_a_row(autojump_clock: MockClock) -> None:
    crash = Fault(at=At.FIRST, act=Act.CRASH)
    agent = with_llm(crash, crash, None, crash, crash, None)
    async with listening(agent) as talk:
        for _ in range(6):
            await talk.wait_state(S.LISTENING)
            await talk.ask()
        await talk.client.wait_for(TurnEnded, where=lambda m: m.reason is None, count=2)
        assert talk.session.ended is None


async def test_one_sessions_failures_are_not_anothers(autojump_clock: MockClock) -> None:
    hang = Fault(at=At.CONNECT, act=Act.HANG)
    shared = FaultyRecognizer(inner=ScriptedRecognizer(), faults=[hang])
    async with talking(scripted_agent(recognizer=shared)) as stuck:
        await trio.sleep(0.1)
        async with listening(scripted_agent(recognizer=shared, answers=[ANSWER])) as other:
            before = trio.current_time()
            await other.ask()
            await other.wait_turns(1)
            assert trio.current_time() - before < 5
            assert stuck.session.conversation.state is S.LISTENING
            # The kit wants every stream of an agent closed; these two share one.
            await stuck.client.wait_for(HearingReady)
            stuck.session.end()
            await stuck.session.wait_ended()


async def test_what_vendors_put_into_their_exceptions_reaches_no_client(autojump_clock: MockClock) -> None:
    crash = Fault(at=At.FIRST, act=Act.CRASH)
    agent = scripted_agent(
        language_model=FaultyLanguageModel(inner=ScriptedLanguageModel(), faults=[crash]),
        recognizer=FaultyRecognizer(inner=ScriptedRecognizer(), faults=[crash]),
        synthesizer=FaultySynthesizer(inner=ScriptedSynthesizer(), faults=[None, crash]),
    )
    async with listening(agent) as talk:
        for _ in range(4):
            await talk.ask()
            await trio.sleep(5)
    assert len(talk.log.faults) == 3
    assert causes(talk) == {VendorCrash}
    assert not any("canary" in repr(message) for message in talk.client.received)
    assert not any("canary" in str(error) for _, error in talk.log.faults)
    assert all(turn.kind is not TurnKind.APOLOGY for turn in talk.client.received if hasattr(turn, "kind"))
    assert talk.client.all(AudioOut)


class ImpatientVendor:
    """Closes a stream that hears nothing for ten seconds, as vendors do."""

    sample_rate = 16_000
    locales = None
    partials = False

    def __init__(self) -> None:
        self.streams = 0

    @asynccontextmanager
    async def transcribe(
        self, audio: AsyncIterator[HeardAudio], *, locale: str, mode: SttMode
    ) -> AsyncIterator[AsyncIterator[Transcript]]:
        self.streams += 1
        async with aclosing(self._run(audio)) as transcripts:
            yield transcripts

    async def _run(self, audio: AsyncIterator[HeardAudio]) -> AsyncGenerator[Transcript, None]:
        first = None
        with trio.move_on_after(10):
            first = await anext(audio, None)
        if first is None:
            return
        async for _ in audio:
            pass
        yield Transcript(text="here I am", final=True)


async def test_a_stream_that_is_closed_because_nobody_speaks_is_opened_again(autojump_clock: MockClock) -> None:
    vendor = ImpatientVendor()
    async with listening(scripted_agent(recognizer=vendor)) as talk:
        await trio.sleep(65)
        assert vendor.streams == 7
        assert talk.client.all(ErrorRaised) == []
        await talk.ask()
        await talk.wait_turns(1)
        assert talk.said() == ["here I am"]


async def test_of_a_text_whose_model_fails_all_that_was_delivered_counts_and_is_told_once(
    autojump_clock: MockClock,
) -> None:
    async with listening(with_llm(Fault(at=At.MIDDLE, act=Act.CRASH, after=5), output=Output.TEXT)) as talk:
        await talk.ask()
        ended = await talk.wait_turns(1)
    assert ended.heard == "One two three. Four five"
    assert talk.client.all(ResponseTextDone) == [ResponseTextDone(turn=1, text="One two three. Four five")]
