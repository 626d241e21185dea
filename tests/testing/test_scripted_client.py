"""The scripted client does what it is told, on virtual time."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio

from flare_actors.conversation import events as ev
from flare_actors.conversation.items import AgentSaid
from flare_actors.conversation.notices import (
    ErrorRaised,
    PlaybackCleared,
    PlaybackPaused,
    PlaybackResumed,
    TurnEnded,
)
from flare_actors.conversation.settings import Settings
from flare_actors.conversation.states import Reason, State, TurnDetection
from flare_actors.ports import ServerMessage
from flare_actors.session import open_session
from flare_actors.testing import EventLog, Playback, ScriptedClient, scripted_agent

SETTINGS = Settings(soft_endpoint_s=None)


@attrs.define
class Talk:
    client: ScriptedClient
    log: EventLog
    sent: list[ServerMessage]

    def told(self, kind: type) -> list:
        return [message for message in self.sent if isinstance(message, kind)]


@asynccontextmanager
async def talking(
    playback: Playback = Playback.NEVER, *, pauses: bool = True, **settings: object
) -> AsyncGenerator[Talk]:
    log, sent = EventLog(), []
    agent = scripted_agent(
        answers=["One two three, four five six. Seven eight nine."], settings=attrs.evolve(SETTINGS, **settings)
    )
    async with trio.open_nursery() as nursery, open_session(agent, observers=[log]) as session:
        client = ScriptedClient(session, nursery, playback=playback, on_message=sent.append, pauses=pauses)
        client.connect()
        await trio.sleep(0.1)
        session.start_conversation()
        await client.wait_listening()
        yield Talk(client, log, sent)


async def test_what_it_says_is_answered_and_a_cough_is_not(autojump_clock) -> None:
    async with talking() as talk:
        await talk.client.cough()
        await talk.client.wait_listening()
        assert talk.client.session.conversation.turns == 0
        await talk.client.say(0.6)
        await talk.client.hesitate()
        await talk.client.wait_listening(60)
        assert talk.client.session.conversation.turns >= 1
        assert talk.log.all(ev.TranscriptFinished)


async def test_it_barges_in(autojump_clock) -> None:
    async with talking() as talk:
        await talk.client.send(ev.TextReceived(text="tell me"))
        await trio.sleep(1.5)
        await talk.client.barge_in(0.8)
        await talk.client.wait_listening(60)
        assert [cleared.reason for cleared in talk.told(PlaybackCleared)] == [Reason.BARGE_IN]
        assert any(
            isinstance(item, AgentSaid) and item.interrupted for item in talk.client.session.conversation.history
        )


async def test_it_holds_a_button_while_it_speaks(autojump_clock) -> None:
    async with talking(turn_detection=TurnDetection.MANUAL) as talk:
        await talk.client.say(0.6)
        await trio.sleep(5)
        assert talk.client.session.conversation.turns == 0
        await talk.client.push_to_talk(0.6)
        await talk.client.wait_until(lambda c: c.turn is not None, 5)
        await talk.client.wait_listening(60)
        assert talk.client.session.conversation.turns == 1


@pytest.mark.parametrize("pauses", [True, False])
async def test_it_stands_still_if_it_can(autojump_clock, pauses: bool) -> None:
    async with talking(Playback.HONEST, pauses=pauses) as talk:
        await talk.client.send(ev.TextReceived(text="tell me"))
        await talk.client.barge_in(0.2)
        await talk.client.wait_listening(60)
        assert talk.told(PlaybackPaused)
        assert talk.told(PlaybackResumed)
        assert [ended.reason for ended in talk.told(TurnEnded)] == [None]


async def test_it_goes_away_and_comes_back(autojump_clock) -> None:
    async with talking() as talk:
        talk.client.disconnect()
        await trio.sleep(0.1)
        assert not talk.client.connected
        assert not talk.client.session.conversation.attached
        await talk.client.reconnect(5.0)
        await trio.sleep(0.1)
        assert talk.client.links == 2
        assert talk.client.session.conversation.attached
        await talk.client.reconnect(0.0)
    async with talking(reconnect_grace_s=1.0) as talk:
        await talk.client.reconnect(30.0)
        assert not talk.client.connected, "the session has not waited that long"


@pytest.mark.parametrize("playback", Playback)
async def test_it_reports_what_it_played_or_does_not(autojump_clock, playback: Playback) -> None:
    async with talking(playback) as talk:
        await talk.client.send(ev.TextReceived(text="tell me"))
        await talk.client.wait_until(lambda c: c.turn is not None and c.turn.playing, 5)
        await talk.client.wait_listening(60)
        assert bool(talk.log.all(ev.PlaybackProgressed)) is (playback is Playback.HONEST)
        assert [ended.reason for ended in talk.told(TurnEnded)] == [None]


async def test_its_nonsense_changes_nothing(autojump_clock) -> None:
    async with talking() as talk:
        for dice in (0.0, 0.3, 0.7, 1.0):
            await talk.client.talk_nonsense(dice)
        await talk.client.wait_listening()
        assert talk.client.session.conversation.state is State.LISTENING
        assert {error.recoverable for error in talk.told(ErrorRaised)} == {True}


async def test_a_stall_of_the_network_keeps_no_barge_in_back(autojump_clock) -> None:
    async with talking() as talk:
        await talk.client.send(ev.TextReceived(text="tell me"))
        await talk.client.say_in_a_stall(0.8)
        await talk.client.wait_listening(60)
        assert talk.told(PlaybackCleared)
    async with talking() as talk:
        talk.client.disconnect()
        await talk.client.say(0.2)  # Nobody hears it.
