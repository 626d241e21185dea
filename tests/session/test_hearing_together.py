"""Sessions whose chunks are heard together have nothing else in common: whatever becomes of one, the other is heard."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import attrs
import pytest
import trio
from session_kit import Talk, listening
from trio.testing import MockClock

from flare_actors.audio import level_db
from flare_actors.conversation.events import InterruptRequested
from flare_actors.observe import Observer
from flare_actors.ports import AudioIn
from flare_actors.providers.scripted import tone
from flare_actors.testing import memory_link, scripted_agent

FRAME = tone(0.02, level_db=-60.0)
LOUDEST = b"\xff\x7f" * 512


class Detector:
    """Loud is speech, and the loudest is too much. It knows how many chunks it has heard."""

    def __init__(self) -> None:
        self.heard = 0

    def process(self, chunk: bytes) -> float:
        if chunk == LOUDEST:
            raise ValueError("too loud")
        self.heard += 1
        return float(level_db(chunk) > -45)

    def reset(self) -> None: ...


@attrs.define(eq=False)
class Together:
    """Hears many streams at once."""

    sample_rate: int = 16_000
    chunk_samples: int = 512
    opened: list[Detector] = attrs.field(factory=list)
    batches: list[int] = attrs.field(factory=list)

    async def open(self) -> Detector:
        await trio.lowlevel.checkpoint()
        self.opened.append(Detector())
        return self.opened[-1]

    def process_many(self, chunks: Sequence[tuple[Detector, bytes]]) -> list[float]:
        if any(chunk == LOUDEST for _, chunk in chunks):
            raise ValueError("one of them is too loud")
        self.batches.append(len(chunks))
        return [detector.process(chunk) for detector, chunk in chunks]


class Watching(Observer):
    """Raises a bug when somebody presses stop, and knows what it was told after the end."""

    def __init__(self) -> None:
        self.ended = False
        self.after_the_end: list[object] = []

    def on_step(self, *facts: object) -> None:
        if self.ended:
            self.after_the_end.append(facts)
        assert not isinstance(facts[2], InterruptRequested), "a bug"

    def on_fault(self, *facts: object) -> None:
        if self.ended:
            self.after_the_end.append(facts)

    def on_session_ended(self, *_: object) -> None:
        self.ended = True


async def end(talk: Talk, how: str) -> None:
    """What becomes of a session; nobody waits for it."""
    match how:
        case "hangs up":
            talk.client.close()
        case "comes back":
            _, link = memory_link()
            talk.nursery.start_soon(talk.session.attach, link)
        case "ends":
            talk.session.end()
        case "crashes":
            await talk.client.send(InterruptRequested())
        case "is too loud":
            await talk.client.send(AudioIn(LOUDEST))


@pytest.mark.parametrize("how", ["hangs up", "comes back", "ends", "crashes", "is cancelled", "is too loud"])
@pytest.mark.parametrize("rounds", range(4))
async def test_whatever_becomes_of_one_session_the_other_hears_every_chunk(
    autojump_clock: MockClock, how: str, rounds: int
) -> None:
    vad, watching = Together(), Watching()
    async with listening(scripted_agent(voice_activity=vad)) as stays:
        with trio.CancelScope() as scope, contextlib.suppress(ExceptionGroup):
            async with listening(scripted_agent(voice_activity=vad), observers=[watching]) as goes:
                for _ in range(16):  # The last one makes a chunk complete, of either.
                    await trio.sleep(0.02)
                    for talk in (stays, goes):
                        await talk.client.send(AudioIn(FRAME))
                for _ in range(rounds):
                    await trio.lowlevel.checkpoint()
                if how == "is cancelled":
                    scope.cancel()
                await end(goes, how)
                await trio.sleep(0.1)
        assert watching.ended
        await stays.client.speak(FRAME * 8)
        assert max(vad.batches) == 2
        assert vad.opened[0].heard == 15
        await stays.ask()
        assert (await stays.wait_turns(1)).heard
    assert not watching.after_the_end
