"""Who had something said learns whether, and how much of it, was heard."""

from __future__ import annotations

import pytest
import trio
from session_kit import listening
from trio.testing import MockClock

from flare_actors import HeardOfSpeech, Speech, open_session
from flare_actors.conversation.events import InterruptRequested, TextReceived
from flare_actors.conversation.settings import Limits, Settings
from flare_actors.conversation.states import Reason
from flare_actors.providers.scripted import ScriptedLanguageModel, ScriptedRecognizer
from flare_actors.testing import scripted_agent

LONG = "One two three four five. Six seven eight nine ten. Eleven twelve thirteen fourteen. Fifteen and so on."
LOUD = -10.0


async def test_what_was_said_to_its_end_was_heard_whole(autojump_clock: MockClock) -> None:
    async with listening(scripted_agent()) as talk:
        speech = talk.session.say("Dinner is ready.")
        assert speech.heard is None
        assert await speech.wait_heard() == HeardOfSpeech(turn=1, text="Dinner is ready.", complete=True)
        assert await speech.wait_heard() is speech.heard


async def test_of_what_was_interrupted_the_heard_part_is_told(autojump_clock: MockClock) -> None:
    async with listening(scripted_agent()) as talk:
        speech = talk.session.say(LONG)
        await talk.wait_audio(1, 2.0)
        await talk.client.send(InterruptRequested())
        heard = await speech.wait_heard()
    assert (heard.turn, heard.complete, heard.reason) == (1, False, Reason.BARGE_IN)
    assert heard.text
    assert LONG.startswith(heard.text)


async def test_what_may_not_be_interrupted_is_heard_whole_and_the_user_is_answered_then(
    autojump_clock: MockClock,
) -> None:
    agent = scripted_agent(transcripts=["stop that"], answers=["As you like."])
    async with listening(agent) as talk:
        speech = talk.session.say(LONG, interruptible=False)
        await talk.wait_audio(1, 1.0)
        await talk.ask(level=LOUD)
        assert (await speech.wait_heard()).complete
        await talk.wait_turns(2)
    assert talk.heard() == [LONG, "As you like."]
    assert [message.content for message in agent.language_model.requests[0][-2:]] == [LONG, "stop that"]


async def test_an_answer_that_was_asked_for_is_followed_too(autojump_clock: MockClock) -> None:
    async with listening(scripted_agent(answers=["It is late."])) as talk:
        speech = talk.session.respond("Tell the time.")
        assert await speech.wait_heard() == HeardOfSpeech(turn=1, text="It is late.", complete=True)


async def test_an_answer_that_was_taken_back_unheard_is_followed_to_the_one_that_is_given(
    autojump_clock: MockClock,
) -> None:
    agent = scripted_agent(
        recognizer=ScriptedRecognizer(script=["and quickly"]),
        language_model=ScriptedLanguageModel(script=["It is late.", "Late."], first_token_s=1.0),
    )
    async with listening(agent) as talk:
        speech = talk.session.respond("Tell the time.")
        await trio.sleep(0.2)
        await talk.ask()
        heard = await speech.wait_heard()
    assert heard.complete
    assert heard.turn == 2


async def test_several_are_told_apart(autojump_clock: MockClock) -> None:
    async with listening(scripted_agent()) as talk:
        speeches = [talk.session.say(text) for text in ("One.", "Two.", "Three.")]
        heard = [await speech.wait_heard() for speech in reversed(speeches)]
    assert [each.text for each in heard] == ["Three.", "Two.", "One."]
    assert [each.turn for each in heard] == [3, 2, 1]


async def test_what_is_refused_is_told_with_the_errors_code(autojump_clock: MockClock) -> None:
    agent = scripted_agent(settings=Settings(limits=Limits(say_queue=1)))
    async with listening(agent) as talk:
        kept = [talk.session.say(text) for text in ("One.", "Two.")]
        refused = await talk.session.say("Three.").wait_heard()
        answer = await talk.session.respond().wait_heard()
        assert [(await speech.wait_heard()).complete for speech in kept] == [True, True]
    assert refused == HeardOfSpeech(turn=None, text="", complete=False, refused="say_queue_full")
    assert answer.refused == "already_answering"


async def test_what_waits_when_the_conversation_ends_is_given_up(autojump_clock: MockClock) -> None:
    async with listening(scripted_agent()) as talk:
        first, second = talk.session.say(LONG), talk.session.say("Never.")
        await talk.wait_audio(1, 1.0)
        talk.session.end_conversation()
        assert await second.wait_heard() == HeardOfSpeech(
            turn=None, text="", complete=False, reason=Reason.CONVERSATION_ENDED
        )
        heard = await first.wait_heard()
    assert heard.reason is Reason.CONVERSATION_ENDED
    assert LONG.startswith(heard.text)


@pytest.mark.parametrize("cancelled", [False, True])
async def test_nobody_waits_longer_than_the_session_lives(autojump_clock: MockClock, cancelled: bool) -> None:
    told: list[HeardOfSpeech] = []
    async with trio.open_nursery() as nursery:

        async def wait(speech: Speech) -> None:
            told.append(await speech.wait_heard())

        with trio.CancelScope() as scope:
            async with open_session(scripted_agent()) as session:
                session.start_conversation()  # Nobody is there to say it to.
                nursery.start_soon(wait, session.say("Hello?"))
                await trio.sleep(1)
                if cancelled:
                    scope.cancel()
    assert [(each.complete, each.reason) for each in told] == [
        (False, None if cancelled else Reason.SESSION_ENDED),
    ]


async def test_a_wait_that_is_cancelled_stops_nothing(autojump_clock: MockClock) -> None:
    async with listening(scripted_agent()) as talk:
        speech = talk.session.say("Dinner is ready.")
        with trio.move_on_after(0.1):
            await speech.wait_heard()
        assert (await speech.wait_heard()).complete


async def test_typed_words_over_an_uninterruptible_speech_are_answered_after_it(autojump_clock: MockClock) -> None:
    async with listening(scripted_agent(answers=["Noted."])) as talk:
        speech = talk.session.say(LONG, interruptible=False)
        await talk.wait_audio(1, 1.0)
        await talk.client.send(TextReceived(text="stop"))
        assert (await speech.wait_heard()).complete
        await talk.wait_turns(2)
    assert talk.heard() == [LONG, "Noted."]
