"""Much at once is a burst and not an overload: whoever puts many facts in lets them be taken out in between."""

from __future__ import annotations

import trio
from session_kit import listening, talking
from trio.testing import MockClock

from flare_actors.conversation.events import (
    CommitRequested,
    ConversationStartRequested,
    PlaybackProgressed,
    TextReceived,
)
from flare_actors.conversation.notices import ErrorRaised, HearingReady, TurnEnded
from flare_actors.conversation.settings import Limits, Settings
from flare_actors.conversation.states import Output, Reason
from flare_actors.errors import LinkClosed
from flare_actors.ports import TextDelta, Transcript
from flare_actors.providers.scripted import ScriptedLanguageModel, ScriptedRecognizer, ScriptedSynthesizer
from flare_actors.session import open_session
from flare_actors.testing import EventLog, memory_link, scripted_agent

SENTENCES = "This is short. " * 1000
"""Far more phrases than the inbox holds events."""


async def test_an_answer_of_a_thousand_sentences_in_one_breath_is_spoken(autojump_clock: MockClock) -> None:
    agent = scripted_agent(answers=[SENTENCES], synthesizer=ScriptedSynthesizer(chars_per_second=500))
    async with listening(agent) as talk:
        await talk.client.send(TextReceived(text="hi"))
        ended = await talk.wait_turns(1)
    assert ended.reason is None
    assert ended.heard == SENTENCES.strip()
    assert talk.client.all(ErrorRaised) == []


async def test_an_answer_in_one_single_piece_is_spoken(autojump_clock: MockClock) -> None:
    class OnePiece(ScriptedLanguageModel):
        async def _run(self, tokens, max_tokens):
            yield TextDelta(text=SENTENCES)

    async with listening(scripted_agent(language_model=OnePiece(), settings=Settings(output=Output.TEXT))) as talk:
        await talk.client.send(TextReceived(text="hi"))
        assert (await talk.wait_turns(1)).heard == SENTENCES.strip()


async def test_an_answer_without_anything_to_pronounce_is_delivered(autojump_clock: MockClock) -> None:
    answer = "… ! … ? " * 1500
    async with listening(scripted_agent(answers=[answer])) as talk:
        await talk.client.send(TextReceived(text="hi"))
        ended = await talk.wait_turns(1)
    assert ended.heard == answer.strip()
    assert talk.client.all(ErrorRaised) == []


async def test_a_saying_of_a_thousand_sentences_is_said(autojump_clock: MockClock) -> None:
    settings = Settings(limits=Limits(text_chars=100_000))
    agent = scripted_agent(settings=settings, synthesizer=ScriptedSynthesizer(chars_per_second=500))
    async with listening(agent) as talk:
        talk.session.say(SENTENCES)
        assert (await talk.wait_turns(1)).heard == SENTENCES.strip()


async def test_a_thousand_partial_transcripts_at_once_are_passed_on(autojump_clock: MockClock) -> None:
    class Eager(ScriptedRecognizer):
        async def _run(self, audio, *, streaming):
            async for _ in audio:
                pass
            for number in range(1000):
                yield Transcript(text=f"word {number}")
            yield Transcript(text="all of it", final=True)

    async with listening(scripted_agent(recognizer=Eager(), answers=["Yes."])) as talk:
        await talk.ask()
        await talk.wait_turns(1)
    assert talk.said() == ["all of it"]


async def test_a_client_whose_messages_come_in_one_packet_is_served(autojump_clock: MockClock) -> None:
    client, link = memory_link(buffer=2000)
    log = EventLog()
    messages = [ConversationStartRequested(), *[CommitRequested()] * 500, *[PlaybackProgressed(played_s=1.0)] * 500]
    waiting = iter(messages)

    async def receive():
        # As a link does that has decoded them all already: without a checkpoint.
        for message in waiting:
            return message
        await trio.sleep(5)
        raise LinkClosed("gone")

    link.receive = receive  # type: ignore[method-assign]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.run)
        async with open_session(scripted_agent(), observers=[log]) as session:
            nursery.start_soon(session.attach, link)
            await client.wait_for(HearingReady)
            await trio.sleep(1)
            assert session.ended is None
    assert len(log.all(CommitRequested)) == 500
    assert log.ended == [Reason.SESSION_ENDED]


async def test_a_provider_that_fails_without_ever_waiting_does_not_spin(autojump_clock: MockClock) -> None:
    from flare_actors.testing import Act, At, Fault, FaultyRecognizer

    always = Fault(at=At.CALL, act=Act.CRASH)
    agent = scripted_agent(recognizer=FaultyRecognizer(inner=ScriptedRecognizer(), always=always))
    async with talking(agent) as talk:
        await talk.client.wait_closed()
    assert len(talk.log.faults) == 3
    assert talk.client.all(TurnEnded) == []
