"""The stop button, the client's and the embedder's: it silences where it is pressed, whenever that is, and that is all."""

from __future__ import annotations

from collections import Counter

import pytest
import trio
import trio.testing
from session_kit import SILENCE, Talk, listening, talking
from trio.testing import MockClock

from flare_actors.actors import orchestrator
from flare_actors.actors.channels import Outbox
from flare_actors.conversation.commands import Command
from flare_actors.conversation.events import Event, InterruptRequested, TextReceived
from flare_actors.conversation.history import AgentSaid
from flare_actors.conversation.model import Conversation
from flare_actors.conversation.notices import ErrorRaised, PlaybackCleared, ResponseTextDelta, TurnEnded, TurnStarted
from flare_actors.conversation.settings import Settings
from flare_actors.conversation.states import Output, Reason, State
from flare_actors.conversation.step import step
from flare_actors.errors import SessionClosed
from flare_actors.ports import AudioOut, ServerMessage
from flare_actors.providers.scripted import ScriptedLanguageModel, ScriptedRecognizer, ScriptedSynthesizer, tone
from flare_actors.session import Session
from flare_actors.testing import MemoryClient, Room, scripted_agent

S = State
LONG = "One two three four five. Six seven eight nine ten. Eleven twelve thirteen fourteen. Fifteen and so on."
BYTES_PER_S = 2 * 16_000
CHARS_PER_S = 15
"""As the scripted voice speaks."""


async def press(talk: Talk, by: str) -> None:
    if by == "the client":
        await talk.client.send(InterruptRequested())
    else:
        talk.session.interrupt()


def nothing_after_clear(talk: Talk, turn: int) -> bool:
    """No audio of the turn came after the client was told to drop it."""
    received = talk.client.received
    cleared = next(i for i, m in enumerate(received) if isinstance(m, PlaybackCleared) and m.turn == turn)
    return not any(isinstance(m, AudioOut) and m.turn == turn for m in received[cleared:])


@pytest.mark.parametrize("by", ["the client", "the embedder"])
async def test_the_stop_button_stops_and_listens(autojump_clock: MockClock, by: str) -> None:
    async with listening(scripted_agent(answers=[LONG])) as talk:
        await press(talk, by)  # Nobody speaks: nothing happens.
        await talk.ask()
        await talk.wait_audio(1, 1.0)
        await press(talk, by)
        ended = await talk.client.wait_for(TurnEnded)
        assert ended.reason is Reason.BARGE_IN
        assert LONG.startswith(ended.heard)
        assert 0 < len(ended.heard) < len(LONG)
        await talk.wait_state(S.LISTENING)
        await trio.sleep(10)
        assert nothing_after_clear(talk, 1)
        assert talk.client.all(ErrorRaised) == []
    with pytest.raises(SessionClosed):
        talk.session.interrupt()


@pytest.mark.parametrize("by", ["the client", "the embedder"])
async def test_the_stop_button_silences_where_it_is_pressed(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    async with listening(scripted_agent(transcripts=["first", "second"], answers=[LONG, "Yes."])) as talk:
        send, outbox = talk.link.send, talk.session._tree.outbox
        takes = trio.Event()
        takes.set()

        async def stall(*messages: ServerMessage) -> None:
            await takes.wait()
            await send(*messages)

        talk.link.send = stall  # type: ignore[method-assign]
        await talk.ask()
        await talk.wait_audio(1, 1.0)
        takes = trio.Event()
        await trio.sleep(1)
        assert outbox.unsent_audio_bytes > 0
        waits: list[int] = []

        def decide(conversation: Conversation, event: Event) -> tuple[Conversation, tuple[Command, ...]]:
            if isinstance(event, InterruptRequested):
                waits.append(outbox.unsent_audio_bytes)
            return step(conversation, event)

        monkeypatch.setattr(orchestrator, "step", decide)
        await press(talk, by)
        takes.set()
        await talk.client.wait_for(TurnEnded)
        assert waits == [0], "before the core has decided nothing is left to be heard"
        assert nothing_after_clear(talk, 1)
        await talk.ask()
        await talk.wait_turns(2)
        assert talk.heard()[1] == "Yes."


@pytest.mark.parametrize("by", ["the client", "the embedder"])
@pytest.mark.parametrize("output", Output)
async def test_the_stop_button_ends_the_engines_work_where_it_is_pressed(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, by: str, output: Output
) -> None:
    agent = scripted_agent(answers=[LONG, "Yes."], transcripts=["first", "second"], settings=Settings(output=output))
    model, voice = agent.language_model, agent.synthesizer
    assert isinstance(model, ScriptedLanguageModel)
    assert isinstance(voice, ScriptedSynthesizer)
    model.gap_s = 0.2
    async with listening(agent) as talk:
        await talk.ask()
        await talk.client.wait_for(ResponseTextDelta, count=3)
        assert (model.open_streams, voice.open_streams) == (1, int(output is Output.AUDIO))
        inbox = talk.session._tree.inbox
        decided: list[Event] = []
        with monkeypatch.context() as patch:
            patch.setattr(inbox, "put", decided.append)
            await press(talk, by)
            await trio.testing.wait_all_tasks_blocked()
        assert (model.open_streams, voice.open_streams) == (0, 0), "the core has not even been asked"
        for event in decided:
            inbox.put(event)
        ended = await talk.client.wait_for(TurnEnded)
        assert ended.reason is Reason.BARGE_IN
        assert LONG.startswith(ended.heard)
        await talk.ask()
        await talk.wait_turns(2)
        assert talk.heard()[1] == "Yes."


@pytest.mark.parametrize("by", ["the client", "the embedder"])
async def test_the_text_that_was_shown_is_remembered_though_the_session_ends_with_it(
    autojump_clock: MockClock, by: str
) -> None:
    agent = scripted_agent(answers=[LONG], settings=Settings(output=Output.TEXT))
    assert isinstance(agent.language_model, ScriptedLanguageModel)
    agent.language_model.gap_s = 0.2
    async with listening(agent) as talk:
        await talk.client.send(TextReceived(text="go on"))
        await talk.client.wait_for(ResponseTextDelta, count=3)
        talk.session.shutdown(60.0)  # It waits for the turn, and for nothing else.
        await press(talk, by)
        assert await talk.session.wait_ended() is Reason.SHUTDOWN
    shown = "".join(m.text for m in talk.client.all(ResponseTextDelta))
    assert talk.heard() == [shown.strip()]
    assert shown


async def test_pressed_where_there_is_nothing_to_stop_it_stops_nothing_that_comes(autojump_clock: MockClock) -> None:
    async with talking(scripted_agent(settings=Settings(welcome=LONG)), start=False) as talk:
        talk.session.interrupt()  # Nobody has asked for a conversation, and nothing of the session has run.
        talk.session.start_conversation()
        talk.session.interrupt()
        await talk.wait_audio(1, 1.0)
        talk.session.end_conversation()  # On its way when the button is pressed.
        talk.session.interrupt()
        talk.session.start_conversation()
        talk.session.interrupt()
        await talk.wait_audio(2, 1.0)
        talk.session.interrupt()
        talk.session.interrupt()
        await talk.wait_turns(2)
        await talk.client.send(TextReceived(text="still there?"))
        await talk.wait_turns(3)
    assert [m.reason for m in talk.client.all(TurnEnded)] == [Reason.CONVERSATION_ENDED, Reason.BARGE_IN, None]
    assert talk.client.all(ErrorRaised) == []


async def test_pressed_while_the_user_is_being_understood_it_keeps_back_no_answer(autojump_clock: MockClock) -> None:
    async with listening(scripted_agent(recognizer=ScriptedRecognizer(delay_s=2.0))) as talk:
        await talk.ask()
        assert len(talk.session.conversation.awaited) == 1
        talk.session.interrupt()
        await talk.wait_turns(1)
        assert talk.client.audio(1)


async def test_pressed_while_typed_words_are_on_their_way_it_stops_the_answer_to_them(
    autojump_clock: MockClock,
) -> None:
    agent = scripted_agent(answers=[LONG, "Unheard.", "Yes."])
    async with listening(agent) as talk:
        await talk.ask()
        await talk.wait_audio(1, 1.0)
        talk.session._tree.inbox.put(TextReceived(text="typed"))  # In one breath: the core has seen neither.
        talk.session.interrupt()
        await talk.wait_turns(2)
        await trio.sleep(3)
        assert talk.session.conversation.state is S.LISTENING
        assert {m.turn for m in talk.client.all(AudioOut)} == {1}
        await talk.client.send(TextReceived(text="and again"))
        await talk.client.wait_for(TurnEnded, where=lambda m: m.reason is None)
    said = [item.text for item in talk.session.conversation.history if isinstance(item, AgentSaid)]
    assert LONG.startswith(said[0])
    assert said[1:] == ["Unheard."], "the model was not asked about words whose answer was stopped at once"


async def test_what_waits_to_be_said_comes_after_what_was_stopped(autojump_clock: MockClock) -> None:
    async with listening(scripted_agent()) as talk:
        said = [talk.session.say(text) for text in (LONG, "Second.", "Third.")]
        await talk.wait_audio(1, 1.0)
        talk.session.interrupt()
        heard = [await speech.wait_heard() for speech in said]
    assert [each.reason for each in heard] == [Reason.BARGE_IN, None, None]
    assert LONG.startswith(heard[0].text)
    assert [each.text for each in heard[1:]] == ["Second.", "Third."]


async def test_what_is_not_to_be_interrupted_is_stopped_by_the_button(autojump_clock: MockClock) -> None:
    async with listening(scripted_agent()) as talk:
        speech = talk.session.say(LONG, interruptible=False)
        await talk.wait_audio(1, 1.0)
        talk.session.interrupt()
        heard = await speech.wait_heard()
    assert heard.reason is Reason.BARGE_IN
    assert 0 < len(heard.text) < len(LONG)


# --- At any step ----------------------------------------------------------------------------------------------------------


class Presser(trio.abc.Instrument):
    """Presses before some steps of any task, and sees that nothing of what was heard then leaves any more."""

    def __init__(self, presses: set[int], by: str) -> None:
        self.steps = 0
        self.audible: Counter[int] = Counter()
        """Bytes that have left, by turn."""
        self.wrong: list[str] = []
        self.session: Session | None = None
        self.client: MemoryClient | None = None
        self._presses = presses
        self._by = by
        self._stopped: set[int] = set()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        del task
        if self.session is None or self.client is None:
            return
        if self.steps in self._presses:
            if self._by == "the client":
                self.client._outgoing.send_nowait(InterruptRequested())
            else:
                self.session.interrupt()
                speaker = self.session._tree.speaker
                if speaker._turn is not None and not speaker._held:
                    self._stopped.add(speaker._turn)
        self.steps += 1

    def leaves(self, message: ServerMessage | None) -> None:
        if isinstance(message, AudioOut):
            self.audible[message.turn] += len(message.pcm)
            if message.turn in self._stopped:
                self.wrong.append(f"{len(message.pcm)} bytes of turn {message.turn} left after it was stopped")


async def a_talk(talk: Talk, presser: Presser) -> None:
    """A welcome, answers begun ahead, what the embedder says, a barge-in and typed text, in ten seconds."""
    presser.session, presser.client = talk.session, talk.client
    await talk.ask(speech_s=0.6)
    talk.session.say("Said by the embedder.")
    talk.session.say("And again.", interruptible=False)
    await trio.sleep(0.8)
    await talk.client.speak(tone(0.7, level_db=-10) + SILENCE, chunk_s=0.1)
    await talk.client.send(TextReceived(text="typed"))
    await trio.sleep(0.5)
    await talk.client.send(TextReceived(text="typed again"))
    await trio.sleep(1)
    presser.session = None  # Nobody presses any more: all is as ever.
    await talk.wait_state(S.LISTENING)
    turns = talk.session.conversation.turns
    await talk.client.send(TextReceived(text="the last"))
    ended = await talk.client.wait_for(TurnEnded, where=lambda m: m.turn > turns)
    assert ended.reason is None
    assert ended.heard == "One two. Three four."


def pressed(presses: set[int], by: str, *, reports: bool) -> int:
    """Have that talk, pressed before those steps. Gives how many steps it took."""
    presser = Presser(presses, by)

    async def main() -> None:
        agent = scripted_agent(
            recognizer=ScriptedRecognizer(script=["one two three", "four five"], delay_s=0.05, partials=True),
            language_model=ScriptedLanguageModel(script=["One two. Three four."], first_token_s=0.05, gap_s=0.02),
            synthesizer=ScriptedSynthesizer(first_audio_s=0.05, realtime_factor=0.1, chunk_s=0.3),
            settings=Settings(welcome="Hi."),
        )
        async with talking(agent, reports_playback=reports, buffer=16) as talk:
            if reports:
                talk.nursery.start_soon(Room(talk.client, reports=True).run)
            await a_talk(talk, presser)
        started = [m.turn for m in talk.client.all(TurnStarted)]
        ended = {m.turn: m for m in talk.client.all(TurnEnded)}
        assert sorted(ended) == started
        for turn, end in ended.items():
            letters = len("".join(end.heard.split()))
            assert letters <= presser.audible[turn] / BYTES_PER_S * CHARS_PER_S + 1, "only what was heard is remembered"
        assert talk.client.all(ErrorRaised) == []
        assert talk.log.faults == []
        assert talk.log.lingering == []

    with pytest.MonkeyPatch.context() as patch:
        get_nowait = Outbox.get_nowait

        def watched(outbox: Outbox) -> ServerMessage | None:
            message = get_nowait(outbox)
            presser.leaves(message)
            return message

        patch.setattr(Outbox, "get_nowait", watched)
        trio.run(main, clock=MockClock(autojump_threshold=0), instruments=[presser])
    assert presser.wrong == []
    return presser.steps


@pytest.mark.no_cover  # walks the same lines over and over: see conftest.py
@pytest.mark.parametrize(("by", "reports"), [("the client", True), ("the embedder", False)])
def test_pressed_before_any_step_it_silences_at_once_and_the_talk_goes_on(by: str, reports: bool) -> None:
    steps = pressed(set(), by, reports=reports)
    for count, at in enumerate(range(7, steps, steps // 10)):
        pressed({at} if count % 2 else {at, at + 1, at + 2}, by, reports=reports)
