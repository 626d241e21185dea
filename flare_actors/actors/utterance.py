"""An utterance's audio: what the ear keeps of it, and the feed that it fills and a recogniser reads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import trio

from flare_actors.ports import HeardAudio

__all__ = ["UtteranceAudio", "UtteranceFeed"]


class UtteranceFeed:
    """An async iterator over an utterance as it is spoken. Bounded by the utterance's maximum length (30 s: 960 kB).

    Args:
        number: the utterance's number.
        sample_rate: Hz of its audio.
    """

    def __init__(self, number: int, sample_rate: int) -> None:
        self.number = number
        self.sample_rate = sample_rate
        self.closed = False
        """All of it is in: the endpoint was reached."""
        self.on_close: Callable[[], None] | None = None
        """Called at the endpoint."""
        self._pieces: deque[HeardAudio] = deque()
        self._more = trio.Event()
        self._all_in = trio.Event()

    def put(self, piece: HeardAudio) -> None:
        """The utterance goes on."""
        self._pieces.append(piece)
        self._more.set()

    def close(self) -> None:
        """The endpoint: the iterator ends after what is in."""
        self.closed = True
        self._more.set()
        self._all_in.set()
        if self.on_close is not None:
            self.on_close()

    async def wait_closed(self) -> None:
        """Wait for the endpoint."""
        await self._all_in.wait()

    def __aiter__(self) -> UtteranceFeed:
        return self

    async def __anext__(self) -> HeardAudio:
        while not self._pieces:
            if self.closed:
                raise StopAsyncIteration
            self._more = trio.Event()
            await self._more.wait()
        return self._pieces.popleft()


class UtteranceAudio:
    """What the ear keeps: the moment before each utterance, all of it until it is worth a recogniser, and then nothing.

    Args:
        sample_rate: Hz of the audio.
        begin: takes the feed of an utterance that is worth a recogniser; False: nobody is there to understand it.
    """

    def __init__(self, sample_rate: int, begin: Callable[[UtteranceFeed], bool]) -> None:
        self._rate = sample_rate
        self._begin = begin
        self._preroll: deque[bytes] = deque(maxlen=1)
        self._kept: list[bytes] = []
        self._feed: UtteranceFeed | None = None
        self.taken = False
        """A recogniser has taken the utterance in progress."""

    @property
    def preroll(self) -> Sequence[bytes]:
        """The chunks before an utterance that belong to it."""
        return self._preroll

    @property
    def begun(self) -> bool:
        """The utterance in progress was worth a recogniser."""
        return self._feed is not None

    def use(self, preroll_chunks: int) -> None:
        """So many chunks before an utterance belong to it: at least one."""
        self._preroll = deque(self._preroll, maxlen=max(1, preroll_chunks))

    def start(self) -> None:
        """An utterance begins with what was heard before it."""
        self._kept = [*self._preroll]

    def put(self, chunk: bytes, silence_s: float) -> None:
        """The utterance goes on; seconds since its last voice."""
        if self._feed is None:
            self._kept.append(chunk)
        else:
            self._feed.put(HeardAudio(pcm=chunk, silence_s=silence_s))

    def remember(self, chunk: bytes) -> None:
        """A chunk was heard, whatever it was: the next utterance may begin right behind it."""
        self._preroll.append(chunk)

    def begin(self, number: int) -> None:
        """The utterance in progress is worth a recogniser."""
        self._feed = UtteranceFeed(number, self._rate)
        self._feed.put(HeardAudio(pcm=b"".join(self._kept), silence_s=0.0))
        self._kept = []
        self.taken = self._begin(self._feed)

    def stop(self) -> None:
        """The utterance is over, if there was one; the next one begins with what comes from now on."""
        self._preroll.clear()
        if self._feed is not None:
            self._feed.close()
        self._feed = None
        self.taken = False
        self._kept = []
