"""The scope of one turn: model, phrases and synthesizer live in it, and are gone with it.

Barge-in, the end of a conversation, a disconnect, a failure and a shutdown are the same act: cancel this scope.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import trio

from flare_actors.actors.channels import Inbox, Outbox
from flare_actors.actors.llm import write_answer, write_text
from flare_actors.actors.speaker import Speaker
from flare_actors.actors.tools import DetachedTools
from flare_actors.actors.tts import speak
from flare_actors.agent import Agent
from flare_actors.conversation.calls import AnswerRest
from flare_actors.conversation.commands import ReturnToolResult, StartReply
from flare_actors.conversation.events import Event, GenerationFinished, PhraseReady
from flare_actors.conversation.notices import ResponseTextDone
from flare_actors.conversation.phrases import PhraseSplitter
from flare_actors.conversation.settings import Settings
from flare_actors.conversation.states import Output, Reason
from flare_actors.errors import ProviderError
from flare_actors.ports import Phrase

__all__ = ["Reply"]

_open_phrases = trio.open_memory_channel[Phrase]  # Looked up once: every answer opens one, and somebody waits for it.


class Reply:
    """One turn in the making.

    Args:
        command: what to answer or say.
        on_fault: told of what a provider raised.
    """

    def __init__(
        self,
        command: StartReply,
        *,
        agent: Agent,
        settings: Settings,
        inbox: Inbox,
        outbox: Outbox,
        speaker: Speaker,
        detached: DetachedTools,
        now: Callable[[], float],
        on_fault: Callable[[int, ProviderError], None],
    ) -> None:
        self.command = command
        self.turn = command.turn
        self.agent = agent
        self.settings = settings
        self.speaker = speaker
        self.detached = detached
        self._inbox = inbox
        self._outbox = outbox
        self._now = now
        self._on_fault = on_fault
        self._scope: trio.CancelScope | None = None
        """Around all that it does, once it runs."""
        self._splitter = PhraseSplitter()
        self._split: deque[str] = deque()
        """Phrases of what is written already that have not gone on yet: of a burst they go on one at a time."""
        self._text: list[str] = []
        self._chars = 0
        self._first_token_at: float | None = None
        # As many phrases as an answer can have characters: the text is bounded, so its phrases are.
        self._phrases_in, self._phrases_out = _open_phrases(settings.limits.answer_chars)
        self.phrases = 0
        """Phrases so far."""
        self._finished = False
        self._held = command.held
        self._released = trio.Event()
        if not command.held:
            self._released.set()
        self._calls = 0
        self._expected: dict[str, trio.Event] = {}
        self._results: dict[str, ReturnToolResult] = {}
        self._filled = False
        self._step_begins = False
        self._rest: AnswerRest | None = None
        self.limited = False
        """The model had more to say than it may."""
        self.closed = False
        """Cancelled: whatever still comes of it is refused."""
        self.ended = trio.Event()
        """Everything of it is gone."""

    def cancel(self, reason: Reason) -> None:
        """Cancel model and synthesizer, and refuse whatever a stubborn one still gives.

        Text that the client reads as it is written was read, to the last word that it was shown.
        """
        if self.command.output is Output.TEXT and not self._held and not self._finished:
            shown = "".join((*self._split, *self._splitter.flush()))
            self._split.clear()
            if shown:
                self._add_phrase(shown)
        self.closed = True
        if self._scope is not None:
            self._scope.cancel(reason=reason.value)

    def release(self) -> None:
        """The client may have it: the text so far at once, the rest as it comes; the speaker holds the audio."""
        self._held = False
        self._released.set()
        if self._text:
            text = "".join(self._text)
            self._outbox.put_text(self.turn, text)
            if self._finished:
                self._outbox.put(ResponseTextDone(turn=self.turn, text=text))

    async def run(self) -> None:
        """Generate the turn. Ends with GenerationFinished, unless it is cancelled: then it just ends."""
        if self.closed:
            return  # Cancelled before it began: ask nobody, tell nothing.
        with self._phrases_in, self._phrases_out:
            async with trio.open_nursery() as nursery:
                self._scope = nursery.cancel_scope
                spoken = self.command.output is Output.AUDIO
                if self.command.text is not None:
                    await write_text(self, self.command.text)  # All of it is known, whatever becomes of the voice.
                    if spoken:
                        await speak(self, self._phrases_out)
                else:
                    if spoken:
                        nursery.start_soon(speak, self, self._phrases_out)
                    await write_answer(self)  # Here and not there: the model is asked before another task has its turn.
                    # A synthesizer that failed does not stop the text.
            if not self.closed:
                # A canceled scope and a finished generation must not both be told: no checkpoint stands between.
                audio_s = self.speaker.finish(self.turn)
                self.tell(GenerationFinished(turn=self.turn, audio_s=audio_s, limited=self.limited))

    # --- For the tools ----------------------------------------------------------------------------------------------------

    def next_call_id(self) -> str:
        """An id for a call: unique in the session, the same in a replay, and what all vendors take (Mistral: 9 characters)."""
        self._calls += 1
        return f"t{self.turn:04d}c{self._calls:03d}"

    async def wait_released(self) -> None:
        """Wait until the answer is certainly wanted: what follows has effects."""
        await self._released.wait()

    def expect_result(self, call: str) -> trio.Event:
        """The client is going to be asked: what is set when its result is there."""
        self._expected[call] = trio.Event()
        return self._expected[call]

    def return_result(self, result: ReturnToolResult) -> None:
        """The client's result of a call; one that nobody waits for is forgotten."""
        wanted = self._expected.get(result.call)
        if wanted is not None and not wanted.is_set():
            self._results[result.call] = result
            self._rest = result.rest or self._rest
            wanted.set()

    def take_result(self, call: str) -> ReturnToolResult | None:
        """The result, if it came in time."""
        del self._expected[call]
        return self._results.pop(call, None)

    def take_rest(self) -> AnswerRest | None:
        """What the client has said, with its results, to be different from here on."""
        rest, self._rest = self._rest, None
        return rest

    async def fill(self, text: str, after_s: float) -> None:
        """Say something when a tool takes long, unless the agent has something to say anyway; once in a turn."""
        await self.wait_released()
        await trio.sleep(after_s)
        if not self._filled and not self._chars:
            self._filled = True
            try:
                await self.add_text(text.strip())
            finally:
                self.end_step()  # The tools may be done amid it: it is said whole, and is not run into the answer.

    def end_step(self) -> None:
        """The model waits for its tools: what it wrote is spoken meanwhile, and what it writes next begins a new sentence."""
        self._flush_phrases()
        self._step_begins = bool(self._text)

    # --- For the writer and the voice -------------------------------------------------------------------------------------

    def tell(self, event: Event) -> None:
        """Tell the orchestrator, unless the turn is cancelled."""
        if not self.closed:
            self._inbox.put(event)

    async def relieve(self) -> None:
        """Give the orchestrator a chance to take out what it was told."""
        await self._inbox.relieve()

    def fault(self, error: ProviderError) -> None:
        """A provider failed."""
        self._on_fault(self.turn, error)

    def mark_first_token(self) -> None:
        """The model has begun to write."""
        self._first_token_at = self._now()

    async def add_text(self, text: str) -> bool:
        """The answer grows: the client sees it, complete phrases go on. False: that was enough."""
        if self._step_begins and text:
            self._step_begins = False
            if not (text[0].isspace() or self._text[-1][-1].isspace()):
                text = f" {text}"
        room = self.settings.limits.answer_chars - self._chars
        enough = len(text) >= room
        self.limited |= enough
        text = text[:room]
        if text:
            self._chars += len(text)
            self._text.append(text)
            if not self._held:
                self._outbox.put_text(self.turn, text)
            self._split.extend(self._splitter.feed(text))
            while self._split:
                if not self.phrases and self.command.output is Output.AUDIO:
                    # The voice begins before the model goes on, which may have a whole burst of tokens ready.
                    with self._inbox.quiet():
                        self._add_phrase(self._split.popleft())
                        await self.speaker.go_first(self.turn)
                else:
                    self._add_phrase(self._split.popleft())
                await self.relieve()
        return not enough

    def finish_text(self) -> None:
        """The answer's text is complete (or never will be)."""
        if self.closed or self._finished:
            return
        self._finished = True
        self._flush_phrases()
        self._phrases_in.close()
        if self._text and not self._held:
            self._outbox.put(ResponseTextDone(turn=self.turn, text="".join(self._text)))

    def _flush_phrases(self) -> None:
        """All that was written goes on, whether it ends a sentence or not."""
        while self._split:
            self._add_phrase(self._split.popleft())
        for phrase in self._splitter.flush():
            self._add_phrase(phrase)

    def _add_phrase(self, text: str) -> None:
        index = self.phrases
        self.phrases += 1
        if not self.closed:
            first_token_at = self._first_token_at if index == 0 else None
            self._inbox.put_patiently(
                PhraseReady(turn=self.turn, index=index, text=text, first_token_at=first_token_at)
            )
        self._phrases_in.send_nowait(Phrase(index=index, text=text))
