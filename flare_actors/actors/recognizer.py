"""The recogniser: opens the provider's stream ahead of the user's words, one utterance a stream, and tells transcripts.

It runs from the first StartStt until StopStt or a failure. Hearing does not wait for it: utterances queue up while it is
busy, and when it falls too far behind the oldest are given up. Each stream is a task of its own, so that one which does not
let go (a slow close, a swallowed cancellation) does not keep the next one waiting.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Final

import trio

from flare_actors.actors.channels import Alarm, Inbox
from flare_actors.actors.supervision import Lingering
from flare_actors.actors.utterance import UtteranceFeed
from flare_actors.audio import Resampler
from flare_actors.conversation.commands import StartStt
from flare_actors.conversation.events import RecognizerFailed, RecognizerReady, TranscriptFinished, TranscriptUpdated
from flare_actors.conversation.settings import Timeouts
from flare_actors.conversation.states import SttMode
from flare_actors.errors import ProviderError
from flare_actors.guard import Guarded, Patience, expect, port_guard
from flare_actors.ports import HeardAudio, Recognizer, Transcript

__all__ = ["RecognizerActor"]


class RecognizerActor:
    """One session's recogniser.

    Args:
        recognizer: the provider.
        timeouts: ``connect_s`` and ``stt_final_s`` apply.
        inbox: where facts go.
        lingering: counts streams that do not end when they are cancelled.
        on_fault: told of what the provider raised.
    """

    IDLE_S: Final = 1.0  # A stream that ends before it got any audio, but not at once, is opened again.
    REST_S: Final = 0.02  # From a transcript to what is done for the next one, while an answer is being begun.
    WAITING: Final = 4  # Utterances ended but not understood yet: half a minute of talk; older ones are lost anyway.

    def __init__(
        self,
        recognizer: Recognizer,
        timeouts: Timeouts,
        inbox: Inbox,
        lingering: Lingering,
        on_fault: Callable[[ProviderError], None],
    ) -> None:
        self._recognizer = recognizer
        self._timeouts = timeouts
        self._inbox = inbox
        self._lingering = lingering
        self._on_fault = on_fault
        self._wanted: StartStt | None = None
        self._asked = False
        """A StartStt has not been answered yet."""
        self._waiting: deque[UtteranceFeed] = deque()
        self._stream: _Stream | None = None
        """The stream that the next transcript comes from; None: there is none, or it is about to be opened."""
        self._dropped: list[_Stream] = []
        """Cancelled streams that nobody watches yet."""
        self._wake = trio.Event()
        self.given_up = 0
        """Utterances that were too old to be understood."""

    # --- Synchronous: the orchestrator's and the ear's side ---------------------------------------------------------------

    def start(self, command: StartStt) -> None:
        """Be open for the next utterance; answered with RecognizerReady or RecognizerFailed."""
        self._wanted = command
        self._asked = True
        stream = self._stream
        if stream is not None and stream.source.feed is None:
            if (stream.command.locale, stream.command.mode) != (command.locale, command.mode):
                self._drop()
            elif stream.ready:
                self._announce()
        self._wake.set()

    def stop(self) -> None:
        """Close; utterances that were not understood yet are forgotten."""
        self._wanted = None
        self._asked = False
        self._waiting.clear()
        self._drop()

    def begin(self, feed: UtteranceFeed) -> bool:
        """An utterance to be understood, from its pre-roll on. False: nobody is there to understand it."""
        if self._wanted is None:
            return False
        self._waiting.append(feed)
        if len(self._waiting) > self.WAITING:
            self._waiting.popleft()
            self.given_up += 1
        self._assign()
        return True

    def _drop(self) -> None:
        if self._stream is not None:
            self._stream.scope.cancel(reason="the recogniser is stopped")
            self._dropped.append(self._stream)
            self._stream = None
        self._wake.set()

    def _announce(self) -> None:
        if self._asked:
            self._asked = False
            streaming = self._wanted is not None and self._wanted.mode is SttMode.STREAMING
            self._inbox.put(RecognizerReady(partials=streaming and self._recognizer.partials))

    # --- Its own tasks ----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep a stream open while one is wanted, for as long as the session lives."""
        async with trio.open_nursery() as nursery:
            while True:
                self._wake = trio.Event()
                if self._dropped:
                    try:
                        await trio.lowlevel.checkpoint()  # Most end at once, and need not be watched.
                    finally:
                        self._watch(nursery)
                if self._wanted is not None and self._stream is None:
                    self._stream = _Stream(self._wanted)
                    nursery.start_soon(self._serve, self._stream)
                await self._wake.wait()

    def _watch(self, nursery: trio.Nursery) -> None:
        dropped, self._dropped = self._dropped, []
        for stream in dropped:
            if not stream.ended.is_set():
                nursery.start_soon(self._lingering.watch, stream.ended)

    async def _serve(self, stream: _Stream) -> None:
        """One stream, and what becomes of it."""
        try:
            with stream.scope:
                await self._understand(stream)
        except ProviderError as error:
            self._on_fault(error)
            if stream is self._stream:
                # What nobody waits for any more is not reported as failed.
                self._stream = self._wanted = None
                self._waiting.clear()
                self._inbox.put(RecognizerFailed(message=error.message, critical=error.critical))
        finally:
            stream.ended.set()

    async def _understand(self, stream: _Stream) -> None:
        """Open the stream, wait for an utterance, tell what was said."""
        source, command = stream.source, stream.command
        opened = trio.current_time()
        with port_guard("stt"):  # An engine that was never opened may not even know its rate.
            source.sample_rate = self._recognizer.sample_rate
        with Patience("stt", self._timeouts.connect_s, "connect") as patience:
            async with Guarded(
                "stt",
                lambda: self._recognizer.transcribe(source, locale=command.locale, mode=command.mode),
                gives=(Transcript,),
            ) as transcripts:
                if stream is not self._stream:
                    return  # The provider swallowed its cancellation.
                patience.rest()
                source.on_end = lambda: patience.until(self._timeouts.stt_final_s, "final transcript")
                stream.ready = True
                self._announce()
                self._assign()
                with Alarm() as rest:
                    if await self._read(stream, transcripts):
                        # The user waits for an answer, and nobody for the next stream yet. (Nor does he wait for ``sleep`` to
                        # enter a scope.)
                        rest.set(trio.current_time() + self.REST_S)
                        patience.at_least(self._timeouts.connect_s, "close")
                        await trio.sleep_forever()
                if stream is not self._stream:
                    self._wake.set()  # It need not wait until this one is closed.
        if stream is self._stream:
            if source.feed is None and trio.current_time() - opened >= self.IDLE_S:
                # Vendors close streams that hear nothing for a while: no failure, if it is not all that they do.
                self._stream = None
                self._wake.set()
                return
            raise ProviderError("stt", "stt provider ended without a final transcript")

    async def _read(self, stream: _Stream, transcripts: AsyncIterator[Transcript]) -> bool:
        """Tell what was said. Gives whether that is all that the utterance has; False: there was no end to it."""
        source = stream.source
        async for transcript in transcripts:
            if stream is not self._stream:
                break
            expect("stt", source.feed is not None, "a transcript before it got any audio")
            expect("stt", isinstance(transcript.text, str), "a transcript whose text is no str")
            assert source.feed is not None
            number = source.feed.number
            if not transcript.final:
                complete = transcript.complete
                self._inbox.put(TranscriptUpdated(utterance=number, text=transcript.text, complete=complete))
                await self._inbox.relieve()
                continue
            # Some providers have their own idea of an endpoint; ours is the ear's.
            if not source.feed.closed:
                await source.feed.wait_closed()
            if stream is not self._stream:
                break
            self._inbox.put(TranscriptFinished(utterance=number, text=transcript.text))
            self._stream = None
            return True
        return False

    def _assign(self) -> None:
        """Give the next utterance to the open stream, if it has none."""
        stream = self._stream
        if stream is not None and stream.ready and stream.source.feed is None and self._waiting:
            stream.source.assign(self._waiting.popleft())


class _Stream:
    """One stream of the provider's: opened, given an utterance, ended."""

    def __init__(self, command: StartStt) -> None:
        self.command = command
        self.source = _Source()
        self.scope = trio.CancelScope()
        self.ready = False
        """It is open."""
        self.ended = trio.Event()
        """Everything of it is gone."""


class _Source:
    """The utterance as the provider reads it; tells its end, whether the provider reads on or not.

    A class, not a generator: nobody has to close it when the provider stops in the middle.
    """

    def __init__(self) -> None:
        self.sample_rate = 16_000
        """Hz that the provider takes."""
        self._resampler: Resampler | None = None
        self._arrived = trio.Event()
        self._silence_s = 0.0
        self.feed: UtteranceFeed | None = None
        self.on_end: Callable[[], None] = lambda: None

    def assign(self, feed: UtteranceFeed) -> None:
        self.feed = feed
        if feed.sample_rate != self.sample_rate:
            self._resampler = Resampler(feed.sample_rate, self.sample_rate)
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
        while True:
            try:
                piece = await anext(self.feed)
            except StopAsyncIteration:
                if self._resampler is None:
                    raise
                tail, self._resampler = self._resampler.feed(b"", last=True), None
                if not tail:
                    raise
                return HeardAudio(pcm=tail, silence_s=self._silence_s)
            if self._resampler is None:
                return piece
            self._silence_s = piece.silence_s
            pcm = self._resampler.feed(piece.pcm)
            if pcm:  # The filter may keep the first milliseconds to itself.
                return HeardAudio(pcm=pcm, silence_s=piece.silence_s)
