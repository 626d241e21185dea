"""The user takes the floor: by voice, by text, by a button; what was heard counts, and nothing more is heard."""

from __future__ import annotations

import itertools

import pytest
import trio
from session_kit import SILENCE, Talk, listening, loud_s, talking
from trio.testing import MockClock

from flare_actors.conversation.commands import StartReply
from flare_actors.conversation.events import (
    CommitRequested,
    InterruptRequested,
    MuteRequested,
    SpeechConfirmed,
    TextReceived,
)
from flare_actors.conversation.notices import (
    ErrorRaised,
    NothingHeard,
    PlaybackCleared,
    ResponseTextDelta,
    ResponseTextDone,
    StateChanged,
    TurnEnded,
    TurnStarted,
    UserSpeechStarted,
    UserSpeechStopped,
)
from flare_actors.conversation.settings import Limits, Settings
from flare_actors.conversation.states import BargeIn, Output, Reason, State, TurnKind
from flare_actors.ports import AudioOut
from flare_actors.providers.scripted import ScriptedLanguageModel, ScriptedRecognizer, ScriptedSynthesizer, tone
from flare_actors.testing import scripted_agent

S = State
LONG = "One two three four five. Six seven eight nine ten. Eleven twelve thirteen fourteen. Fifteen and so on."
LOUD = -10.0
"""Above the agent's own -20 dBFS, so that the echo guard lets it through."""


def nothing_after_clear(talk: Talk, turn: int) -> bool:
    """No audio of the turn came after the client was told to drop it."""
    received = talk.client.received
    cleared = next(i for i, m in enumerate(received) if isinstance(m, PlaybackCleared) and m.turn == turn)
    return not any(isinstance(m, AudioOut) and m.turn == turn for m in received[cleared:])


async def test_speaking_over_an_answer_stops_it_and_only_what_was_heard_is_remembered(
    autojump_clock: MockClock,
) -> None:
    agent = scripted_agent(transcripts=["first", "second"], answers=[LONG, "Yes."])
    async with listening(agent) as talk:
        await talk.ask()
        await talk.wait_audio(1, 2.0)
        started = trio.current_time()
        talk.nursery.start_soon(lambda: talk.ask_until_the_end(level=LOUD))
        cleared = await talk.client.wait_for(PlaybackCleared)
        # 0.3 s of voice confirm an interruption; the VAD's chunk is 32 ms.
        assert trio.current_time() - started == pytest.approx(0.3, abs=0.07)
        assert cleared == PlaybackCleared(turn=1, reason=Reason.BARGE_IN)
        await talk.wait_turns(2)
    first = talk.client.all(TurnEnded)[0]
    assert first.reason is Reason.BARGE_IN
    assert first.heard
    assert LONG.startswith(first.heard)
    # It was at about 2.1 s of 15 characters a second.
    assert len(first.heard) == pytest.approx(2.1 * 15, abs=6)
    assert nothing_after_clear(talk, 1)
    assert agent.language_model.requests[1][-2].content == first.heard
    assert talk.heard()[1] == "Yes."


async def test_speaking_over_the_welcome_stops_it_too(autojump_clock: MockClock) -> None:
    agent = scripted_agent(transcripts=["wait"], settings=Settings(welcome=LONG))
    async with talking(agent) as talk:
        await talk.wait_audio(1, 1.0)
        await talk.ask(level=LOUD)
        await talk.wait_turns(2)
    assert talk.client.all(TurnEnded)[0].reason is Reason.BARGE_IN
    assert nothing_after_clear(talk, 1)
    assert talk.said() == ["wait"]


async def test_no_first_word_of_an_interruption_is_lost(autojump_clock: MockClock) -> None:
    recognizer = ScriptedRecognizer()
    async with listening(scripted_agent(recognizer=recognizer, answers=[LONG])) as talk:
        await talk.ask()
        await talk.wait_audio(1, 1.0)
        await talk.ask(speech_s=1.2, level=LOUD)
        await talk.wait_turns(2)
    # The utterance that interrupts is one utterance: from before its start to its end.
    assert len(recognizer.heard_s) == 2
    assert recognizer.heard_s[1] == pytest.approx(0.3 + 1.2 + 0.48, abs=0.35)
    assert recognizer.heard_s[1] > 1.2 + 0.48


@pytest.mark.parametrize("stage", ["stt", "llm", "tts"])
async def test_going_on_before_the_answer_began_gives_one_entry_and_one_answer(
    autojump_clock: MockClock, stage: str
) -> None:
    slow = 1.5
    agent = scripted_agent(
        recognizer=ScriptedRecognizer(script=["I would like", "a cup of tea"], delay_s=slow if stage == "stt" else 0),
        language_model=ScriptedLanguageModel(first_token_s=slow if stage == "llm" else 0),
        synthesizer=ScriptedSynthesizer(first_audio_s=slow if stage == "tts" else 0),
    )
    async with listening(agent) as talk:
        await talk.client.speak(tone(1.0))
        await talk.client.speak(SILENCE[: 2 * 10_000])  # Past the endpoint: the agent thinks.
        await talk.ask()
        await talk.client.wait_for(TurnEnded, where=lambda m: m.reason is None)
        await trio.sleep(20)
    answered = [m for m in talk.client.all(TurnEnded) if m.reason is None]
    assert len(answered) == 1
    assert agent.language_model.requests[-1][-1].content == "I would like a cup of tea"
    assert [m.role for m in agent.language_model.requests[-1]] == ["user"]
    # Of an answer that was taken back nothing was ever heard.
    heard = {m.turn for m in talk.client.all(AudioOut)}
    assert heard == {answered[0].turn}


async def test_a_cough_during_an_answer_does_not_stop_it(autojump_clock: MockClock) -> None:
    async with listening(scripted_agent(answers=[LONG])) as talk:
        await talk.ask()
        await talk.wait_audio(1, 1.0)
        await talk.client.speak(tone(0.2, level_db=LOUD))
        await talk.client.speak(SILENCE)
        await talk.wait_turns(1)
    assert talk.client.all(PlaybackCleared) == []
    assert talk.heard() == [LONG]


async def test_with_barge_in_off_the_answer_is_finished_and_then_the_user_is_answered(
    autojump_clock: MockClock,
) -> None:
    agent = scripted_agent(transcripts=["one", "two"], answers=[LONG, "Yes."], settings=Settings(barge_in=BargeIn.OFF))
    async with listening(agent) as talk:
        await talk.ask()
        await talk.wait_audio(1, 1.0)
        await talk.ask(level=LOUD)
        await talk.wait_turns(1)
        await trio.sleep(5)
    assert talk.heard()[0] == LONG
    assert talk.client.all(PlaybackCleared) == []


async def test_five_interruptions_in_a_row_are_served_like_the_first(autojump_clock: MockClock) -> None:
    agent = scripted_agent(answers=[LONG])
    async with listening(agent) as talk:
        await talk.ask()
        for turn in range(1, 6):
            await talk.wait_audio(turn, 0.6)
            await talk.ask(speech_s=0.8, level=LOUD)
            await talk.client.wait_for(TurnStarted, count=turn + 1)
        await talk.client.wait_for(TurnEnded, where=lambda m: m.reason is None)
    assert [m.reason for m in talk.client.all(TurnEnded)] == [Reason.BARGE_IN] * 5 + [None]
    assert all(nothing_after_clear(talk, turn) for turn in range(1, 6))


# --- Text and buttons ----------------------------------------------------------------------------------------------------


async def test_typed_text_interrupts_and_is_answered_at_once(autojump_clock: MockClock) -> None:
    agent = scripted_agent(answers=[LONG, "Noted."])
    async with listening(agent) as talk:
        await talk.ask()
        await talk.wait_audio(1, 1.0)
        before = trio.current_time()
        await talk.client.send(TextReceived(text="never mind"))
        await talk.client.wait_for(AudioOut, where=lambda m: m.turn == 2)
        assert trio.current_time() - before < 0.01
        await talk.wait_turns(2)
    assert nothing_after_clear(talk, 1)
    assert agent.language_model.requests[1][-1].content == "never mind"
    assert talk.heard()[1] == "Noted."


async def test_text_typed_while_speaking_is_answered_and_the_speech_too(autojump_clock: MockClock) -> None:
    agent = scripted_agent(transcripts=["and this is spoken"], answers=lambda messages: messages[-1].content)
    async with listening(agent) as talk:
        talk.nursery.start_soon(talk.ask_until_the_end)
        await talk.client.wait_for(UserSpeechStarted)
        await talk.client.send(TextReceived(text="this is typed"))
        await talk.client.wait_for(TurnEnded, where=lambda m: m.reason is None)
        await trio.sleep(5)
    last = agent.language_model.requests[-1]
    assert "this is typed" in " ".join(m.content for m in last)
    assert "and this is spoken" in " ".join(m.content for m in last)
    assert talk.session.conversation.ended is Reason.SESSION_ENDED


async def test_a_burst_of_texts_is_a_burst_and_not_the_end(autojump_clock: MockClock) -> None:
    # All of them wait in the inbox together: each cancels the answer to the one before within one breath.
    model = ScriptedLanguageModel(script=lambda messages: messages[-1].content[-20:])
    async with listening(scripted_agent(language_model=model)) as talk:
        for number in range(40):
            await talk.client.send(TextReceived(text=f"text {number}"))
        await talk.client.wait_for(TurnEnded, where=lambda m: m.reason is None)
        assert talk.session.ended is None
        assert talk.log.lingering == []
    assert talk.heard()[-1].endswith("text 39")


async def test_a_reply_cancelled_before_it_began_asks_nobody_and_tells_nothing(autojump_clock: MockClock) -> None:
    model = ScriptedLanguageModel()
    async with listening(scripted_agent(language_model=model), start=True) as talk:
        # Without a checkpoint in between, so that the first reply's task has not run when it is cancelled.
        put = talk.session._tree.inbox.put
        put(TextReceived(text="first"))
        put(TextReceived(text="second"))
        await talk.client.wait_for(TurnEnded, where=lambda m: m.reason is None)
        assert len(model.requests) == 1
        talk.session.say("Said by the embedder.")
        put(InterruptRequested())
        await trio.sleep(5)
    assert [m.turn for m in talk.client.all(ResponseTextDone)] == [2]
    assert {m.turn for m in talk.client.all(AudioOut)} == {2}


async def test_commit_ends_the_utterance_at_once(autojump_clock: MockClock) -> None:
    async with listening(scripted_agent()) as talk:
        await talk.client.speak(tone(1.0))
        await talk.client.send(CommitRequested())
        before = trio.current_time()
        await talk.client.wait_for(UserSpeechStopped)
        await talk.client.wait_for(AudioOut)
        assert trio.current_time() - before < 0.05
        await talk.wait_turns(1)


async def test_commit_does_not_wait_for_audio_that_came_after_it(autojump_clock: MockClock) -> None:
    async with listening(scripted_agent()) as talk:
        flooding = trio.CancelScope()

        async def flood() -> None:
            with flooding:
                while True:
                    await talk.client.speak(tone(0.5), paced=False)
                    await trio.sleep(0.05)  # Ten times as fast as anybody speaks.

        talk.nursery.start_soon(flood)
        await trio.sleep(1)
        assert talk.client.all(UserSpeechStopped) == []
        await talk.client.send(CommitRequested())
        before = trio.current_time()
        await talk.client.wait_for(UserSpeechStopped)
        assert trio.current_time() - before < 3
        flooding.cancel()


async def test_commit_with_nothing_said_is_harmless_and_cuts_nothing_off_later(autojump_clock: MockClock) -> None:
    recognizer = ScriptedRecognizer()
    async with talking(scripted_agent(recognizer=recognizer), start=True) as talk:
        await talk.client.send(CommitRequested())  # Perhaps before the ear is open.
        await talk.client.speak(SILENCE)
        await talk.client.send(CommitRequested())
        await talk.ask()
        await talk.wait_turns(1)
    assert recognizer.heard_s == [pytest.approx(1.78, abs=0.1)]


async def test_muting_ends_the_utterance_and_what_follows_is_not_heard(autojump_clock: MockClock) -> None:
    recognizer = ScriptedRecognizer()
    async with listening(scripted_agent(recognizer=recognizer)) as talk:
        await talk.client.speak(tone(1.0))
        await talk.client.send(MuteRequested(muted=True))
        await talk.client.wait_for(UserSpeechStopped)
        await talk.wait_turns(1)
        await talk.ask(speech_s=3.0)
        await trio.sleep(3)
        assert len(recognizer.heard_s) == 1
        await talk.client.send(MuteRequested(muted=False))
        await talk.ask()
        await talk.wait_turns(2)
    assert len(recognizer.heard_s) == 2


async def test_a_muted_client_stays_muted_in_the_next_conversation(autojump_clock: MockClock) -> None:
    from flare_actors.conversation.events import ConversationEndRequested, ConversationStartRequested

    async with listening(scripted_agent()) as talk:
        await talk.client.send(MuteRequested(muted=True))
        await talk.client.send(ConversationEndRequested())
        await talk.client.send(ConversationStartRequested())
        await talk.client.wait_for(StateChanged, count=2, where=lambda m: m.new is S.LISTENING)
        await talk.ask()
        await trio.sleep(2)
    assert talk.client.all(UserSpeechStarted) == []


async def test_a_microphone_that_falls_silent_amid_a_word_ends_the_utterance(autojump_clock: MockClock) -> None:
    async with listening(scripted_agent()) as talk:
        await talk.client.speak(tone(1.0))  # And then not a single sample more.
        await talk.wait_turns(1)
    assert len(talk.said()) == 1


async def test_an_utterance_without_end_is_answered_at_its_maximum_length(autojump_clock: MockClock) -> None:
    recognizer = ScriptedRecognizer()
    settings = Settings(max_utterance_s=5.0)
    async with listening(scripted_agent(recognizer=recognizer, settings=settings)) as talk:
        await talk.client.speak(SILENCE + tone(5.5))
        await talk.client.wait_for(UserSpeechStopped)
    assert recognizer.heard_s[0] == pytest.approx(5.3, abs=0.1)


# --- Said on the embedder's account --------------------------------------------------------------------------------------


async def test_what_is_to_be_said_waits_for_the_floor_in_order(autojump_clock: MockClock) -> None:
    async with listening(scripted_agent(answers=["An answer."])) as talk:
        await talk.ask()
        await talk.wait_audio(1, 0.1)
        for text in ("One.", "Two.", "Three."):
            talk.session.say(text)
        await talk.wait_turns(4)
    assert talk.heard() == ["An answer.", "One.", "Two.", "Three."]
    assert [m.kind for m in talk.client.all(TurnStarted)] == [TurnKind.RESPONSE, *[TurnKind.SAY] * 3]
    assert talk.client.all(PlaybackCleared) == []


async def test_more_sayings_than_the_queue_holds_are_refused(autojump_clock: MockClock) -> None:
    async with listening(scripted_agent(settings=Settings(limits=Limits(say_queue=2)))) as talk:
        for number in range(4):
            talk.session.say(f"Number {number}.")
        assert (await talk.client.wait_for(ErrorRaised)).code == "say_queue_full"
        await talk.wait_turns(3)
    assert talk.heard() == ["Number 0.", "Number 1.", "Number 2."]


async def test_a_client_that_takes_text_only_gets_text_only(autojump_clock: MockClock) -> None:
    synthesizer = ScriptedSynthesizer()
    settings = Settings(output=Output.TEXT, welcome="Hello.")
    agent = scripted_agent(synthesizer=synthesizer, answers=["An answer."], settings=settings)
    async with listening(agent) as talk:
        await talk.client.send(TextReceived(text="hi"))
        await talk.wait_turns(2)
        stale = talk.session.statistics().stale_facts
    assert talk.client.all(AudioOut) == []
    assert synthesizer.phrases == []
    assert talk.heard() == ["Hello.", "An answer."]
    assert stale == 0


async def test_facts_of_every_utterance_come_in_order(autojump_clock: MockClock) -> None:
    async with listening(scripted_agent(answers=[LONG])) as talk:
        for _ in range(3):
            await talk.ask(level=LOUD)
    order = [type(m).__name__ for m in talk.client.received if isinstance(m, UserSpeechStarted | UserSpeechStopped)]
    assert order == ["UserSpeechStarted", "UserSpeechStopped"] * 3
    assert [m.utterance for m in talk.client.all(UserSpeechStarted)] == [1, 2, 3]
    assert [e.utterance for e in talk.log.all(SpeechConfirmed) if not e.overdue] == [1, 2, 3]
    times = [e.at for e in talk.log.events]
    assert all(a <= b for a, b in itertools.pairwise(times))


async def test_every_turn_is_started_before_it_is_heard_and_ended_once(autojump_clock: MockClock) -> None:
    async with listening(scripted_agent(answers=[LONG])) as talk:
        for _ in range(4):
            await talk.ask(level=LOUD)
        await talk.client.wait_for(TurnEnded, where=lambda m: m.reason is None)
    started = [m.turn for m in talk.client.all(TurnStarted)]
    assert started == sorted(set(started))
    assert sorted(m.turn for m in talk.client.all(TurnEnded)) == started
    for turn in started:
        kinds = [type(m) for m in talk.client.received if getattr(m, "turn", None) == turn]
        assert kinds.index(TurnStarted) < kinds.index(AudioOut) if AudioOut in kinds else True
    assert len(talk.log.commanded(StartReply)) == len(started)
    assert loud_s(talk.client.audio()) > 1
    assert NothingHeard not in {type(m) for m in talk.client.received}


async def test_a_text_only_answer_that_is_interrupted_is_remembered_to_the_last_word_shown(
    autojump_clock: MockClock,
) -> None:
    agent = scripted_agent(
        language_model=ScriptedLanguageModel(script=["One two three. Four five six seven eight."], gap_s=0.5),
        settings=Settings(output=Output.TEXT),
    )
    async with listening(agent) as talk:
        await talk.client.send(TextReceived(text="count"))
        await talk.client.wait_for(ResponseTextDelta, where=lambda m: "five" in m.text)
        await talk.client.send(InterruptRequested())
        await talk.wait_turns(1)
    shown = "".join(delta.text for delta in talk.client.all(ResponseTextDelta))
    assert shown.strip().endswith("five")
    assert talk.heard() == [shown.strip()]
