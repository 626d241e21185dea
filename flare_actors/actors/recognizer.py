"""The recogniser: opens the provider's stream ahead of the user's words, one utterance a stream, and tells transcripts.

It runs from the first StartStt until StopStt or a failure. Hearing does not wait for it: utterances queue up while it is
busy, and when it falls too far behind the oldest are given up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

import trio

from flare_actors.actors.channels import Inbox
from flare_actors.actors.supervision import Guarded, Patience
from flare_actors.actors.utterance import UtteranceFeed
from flare_actors.audio import Resampler
from flare_actors.conversation.commands import StartStt
from flare_actors.conversation.events import RecognizerFailed, RecognizerReady, TranscriptFinished, TranscriptUpdated
from flare_actors.conversation.settings import Timeouts
from flare_actors.errors import ProviderError
from flare_actors.ports import HeardAudio, Recognizer, Transcript

__all__ = ["RecognizerActor"]


class RecognizerActor:
    """One session's recogniser.

    Args:
        recognizer: the provider.
        timeouts: ``connect_s`` and ``stt_final_s`` apply.
        inbox: where facts go.
        on_fault: told of what the provider raised.
    """

    WAITING: Final = 4  # Utterances ended but not understood yet: half a minute of talk; older ones are lost anyway.

    def __init__(
        self,
        recognizer: Recognizer,
        timeouts: Timeouts,
        inbox: Inbox,
        on_fault: Callable[[ProviderError], None],
    ) -> None:
        self._recognizer = recognizer
        self._timeouts = timeouts
        self._inbox = inbox
        self._on_fault = on_fault
        self._wanted: StartStt | None = None
        self._asked = False
        """A StartStt has not been answered yet."""
        self._ready = False
        self._scope: trio.CancelScope | None = None
        self._waiting: deque[UtteranceFeed] = deque(maxlen=self.WAITING)
        self._wake = trio.Event()
        self._source: _Source | None = None
        """The open stream's input."""

    # --- Synchronous: the orchestrator's and the ear's side ---------------------------------------------------------------

    def start(self, command: StartStt) -> None:
        """Be open for the next utterance; answered with RecognizerReady or RecognizerFailed."""
        old, self._wanted = self._wanted, command
        self._asked = True
        if old is not None and (old.locale, old.mode) != (command.locale, command.mode) and self._ready:
            self._reopen()
        elif self._ready:
            self._announce()
        self._wake.set()

    def stop(self) -> None:
        """Close; utterances that were not understood yet are forgotten."""
        self._wanted = None
        self._asked = False
        self._waiting.clear()
        self._reopen()

    def begin(self, feed: UtteranceFeed) -> None:
        """An utterance to be understood, from its pre-roll on."""
        if self._wanted is None:
            return
        self._waiting.append(feed)
        self._assign()

    def _reopen(self) -> None:
        self._ready = False
        self._source = None
        if self._scope is not None:
            self._scope.cancel()
        self._wake.set()

    def _announce(self) -> None:
        if self._asked:
            self._asked = False
            self._inbox.put(RecognizerReady())

    # --- Its own task -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Understand one utterance after the other, for as long as the session lives."""
        while True:
            if self._wanted is None:
                self._wake = trio.Event()
                await self._wake.wait()
                continue
            try:
                with trio.CancelScope() as self._scope:
                    await self._understand(self._wanted)
            except ProviderError as error:
                self._on_fault(error)
                # What the orchestrator did not ask for is not reported as failed.
                if self._wanted is not None:
                    self._inbox.put(RecognizerFailed(message=error.message, critical=error.critical))
                self._wanted = None
                self._waiting.clear()
            finally:
                self._scope = self._source = None
                self._ready = False

    async def _understand(self, command: StartStt) -> None:
        """One stream: open it, wait for an utterance, tell what was said."""
        final = False
        with Patience("stt") as patience:
            patience.until(self._timeouts.connect_s, "connect")
            source = _Source(self._recognizer.sample_rate)
            manager = self._recognizer.transcribe(source, locale=command.locale, mode=command.mode)
            async with Guarded[Transcript]("stt", manager) as transcripts:
                patience.rest()
                source.on_end = lambda: patience.until(self._timeouts.stt_final_s, "final transcript")
                self._source = source
                self._ready = True
                self._announce()
                self._assign()
                async for transcript in transcripts:
                    if source.feed is None:
                        raise ProviderError("stt", "stt provider gave a transcript before it got any audio")
                    if transcript.final:
                        final = True
                        self._inbox.put(TranscriptFinished(utterance=source.feed.number, text=transcript.text))
                        break
                    self._inbox.put(TranscriptUpdated(utterance=source.feed.number, text=transcript.text))
        if not final:
            raise ProviderError("stt", "stt provider ended without a final transcript")

    def _assign(self) -> None:
        """Give the next utterance to the open stream, if it has none."""
        if self._source is not None and self._source.feed is None and self._waiting:
            self._ready = False
            self._source.assign(self._waiting.popleft())


class _Source:
    """The utterance as the provider reads it; tells its end, whether the provider reads on or not.

    A class, not a generator: nobody has to close it when the provider stops in the middle.
    """

    def __init__(self, sample_rate: int) -> None:
        self._sample_rate = sample_rate
        self._resampler: Resampler | None = None
        self._arrived = trio.Event()
        self.feed: UtteranceFeed | None = None
        self.on_end: Callable[[], None] = lambda: None

    def assign(self, feed: UtteranceFeed) -> None:
        self.feed = feed
        if feed.sample_rate != self._sample_rate:
            self._resampler = Resampler(feed.sample_rate, self._sample_rate)
        if feed.closed:
            self.on_end()
        else:
            feed.on_close = self.on_end
        self._arrived.set()

    def __aiter__(self) -> _Source:
        return self

    async def __anext__(self) -> HeardAudio:
        await self._arrived.wait()
        assert self.feed is not None
        try:
            piece = await anext(self.feed)
        except StopAsyncIteration:
            if self._resampler is None:
                raise
            tail, self._resampler = self._resampler.feed(b"", last=True), None
            if not tail:
                raise
            return HeardAudio(pcm=tail)
        if self._resampler is None:
            return piece
        return HeardAudio(pcm=self._resampler.feed(piece.pcm), silence_s=piece.silence_s)
