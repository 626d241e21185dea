"""A client with a body: a loudspeaker that plays what comes, and a microphone in the same room that hears it.

    room = Room(client, echo_db=-30, delay_s=0.15)
    nursery.start_soon(room.run)
    room.say(speechlike(2.0))

What the agent says comes back to it as an echo, attenuated and late, and whoever speaks in the room speaks over it.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

import trio

from flare_actors.audio import BYTES_PER_SAMPLE, bytes_to_seconds, seconds_to_bytes
from flare_actors.conversation.events import PlaybackCompleted, PlaybackProgressed
from flare_actors.conversation.notices import PlaybackCleared, PlaybackPaused, PlaybackResumed, TurnEnded
from flare_actors.errors import LinkClosed
from flare_actors.ports import AudioIn, AudioOut, ServerMessage
from flare_actors.testing.link import MemoryClient

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["Room", "speechlike"]

_FRAME_S: Final = 0.02


def speechlike(seconds: float, sample_rate: int = 16_000, *, level_db: float = -20.0, seed: int = 0) -> bytes:
    """Noise with the rhythm of speech: syllables of uneven loudness, short gaps, and pauses between phrases.

    Args:
        seconds: how long.
        sample_rate: Hz.
        level_db: RMS of the whole, relative to full scale.
        seed: another one speaks otherwise.
    """
    import numpy as np

    random = np.random.default_rng(seed)
    count = seconds_to_bytes(seconds, sample_rate) // BYTES_PER_SAMPLE
    envelope = np.zeros(count)
    at, in_phrase = 0, 0
    while at < count:
        length = round(random.uniform(0.12, 0.30) * sample_rate)
        loudness = 10 ** (random.uniform(-12, 0) / 20)
        part = envelope[at : at + length]
        part[:] = loudness * np.sin(np.pi * np.arange(len(part)) / length) ** 2
        in_phrase += 1
        pause_s = random.uniform(0.0, 0.06)
        if in_phrase >= 8 and random.random() < 0.3:
            pause_s, in_phrase = random.uniform(0.2, 0.6), 0
        at += length + round(pause_s * sample_rate)
    # Voices have most of their energy low: a gentle slope makes white noise duller.
    noise = np.convolve(random.standard_normal(count + 7), np.ones(8) / 8, mode="valid")[:count]
    wave = noise * envelope
    power = float(np.sqrt(np.mean(wave**2))) if count else 0.0
    if power > 0:
        wave *= 32768 * 10 ** (level_db / 20) / power
    return bytes(np.clip(wave, -32768, 32767).astype("<i2").tobytes())


class Room:
    """Plays and listens for a ``MemoryClient`` whose input and output rates are equal.

    Args:
        client: whose it is; its ``run`` must be running too.
        echo_db: how loud the loudspeaker is at the microphone, relative to what is played; None: a headset.
        delay_s: from the arrival of audio until its echo is in the microphone's signal.
        noise_db: the room's own noise, dBFS RMS; None: it is silent.
        reports: tell what was played, as the page does: every 0.1 s, and when the loudspeaker has run empty.
        seed: of the noise.
    """

    def __init__(
        self,
        client: MemoryClient,
        *,
        echo_db: float | None = None,
        delay_s: float = 0.1,
        noise_db: float | None = None,
        reports: bool = False,
        seed: int = 0,
    ) -> None:
        import numpy as np

        if client.input_format != client.output_format:
            raise ValueError("a room has one sample rate; make the link with input_rate == output_rate")
        self._client = client
        self._rate = client.input_format.sample_rate
        self._frame = seconds_to_bytes(_FRAME_S, self._rate)
        self.set_echo(echo_db)
        self._noise = 0.0 if noise_db is None else 32768 * 10 ** (noise_db / 20)
        self._random = np.random.default_rng(seed)
        self._reports = reports
        self._unplayed = bytearray()
        self._unsaid = bytearray()
        silence: npt.NDArray[np.float64] = np.zeros(self._frame // BYTES_PER_SAMPLE)
        frames = max(1, round(delay_s / _FRAME_S))
        self._air: deque[npt.NDArray[np.float64]] = deque([silence] * frames)
        self._turn: int | None = None
        self._cleared: set[int] = set()
        self._paused: int | None = None
        """The turn in which it stands still."""
        self._turn_played = 0
        self._reported = 0
        self._silent = trio.Event()
        self.played: dict[int, float] = {}
        """Seconds that the loudspeaker has played, by turn."""
        client.listeners.append(self._on_message)

    def set_echo(self, echo_db: float | None) -> None:
        """From now on the echo is this loud: somebody turns a knob, or plugs in a headset (None)."""
        self._gain = 0.0 if echo_db is None else 10 ** (echo_db / 20)

    def say(self, pcm: bytes) -> None:
        """Speak, from now on, after what is being said already."""
        self._unsaid += pcm
        self._silent = trio.Event()

    async def wait_said(self) -> None:
        """Wait until everything was said."""
        while self._unsaid:
            await self._silent.wait()

    def _on_message(self, message: ServerMessage) -> None:
        if isinstance(message, AudioOut) and message.turn not in self._cleared:
            if message.turn != self._turn:
                self._turn, self._turn_played, self._reported = message.turn, 0, 0
                self._unplayed.clear()
            self._unplayed += message.pcm
        elif isinstance(message, PlaybackPaused):
            self._paused = message.turn
        elif isinstance(message, PlaybackResumed | TurnEnded):
            self._paused = None if message.turn == self._paused else self._paused
        elif isinstance(message, PlaybackCleared):
            self._paused = None
            self._cleared.add(message.turn)
            if message.turn == self._turn:
                self._unplayed.clear()

    async def run(self) -> None:
        """Play and listen until the session closes the link."""
        next_at = trio.current_time()
        try:
            while True:
                pcm = self._hear(self._play())
                await self._client.send(AudioIn(pcm))
                await self._report()
                next_at += _FRAME_S
                await trio.sleep_until(next_at)
        except LinkClosed:
            pass

    def _play(self) -> npt.NDArray[np.float64]:
        import numpy as np

        still = self._turn is not None and self._turn == self._paused
        frame = b"" if still else bytes(self._unplayed[: self._frame])
        del self._unplayed[: len(frame)]
        if self._turn is not None:
            self._turn_played += len(frame)
            self.played[self._turn] = bytes_to_seconds(self._turn_played, self._rate)
        return np.frombuffer(frame.ljust(self._frame, b"\0"), dtype="<i2").astype(np.float64)

    def _hear(self, played: npt.NDArray[np.float64]) -> bytes:
        import numpy as np

        self._air.append(played)
        wave = self._gain * self._air.popleft()
        said = bytes(self._unsaid[: self._frame])
        del self._unsaid[: len(said)]
        if not self._unsaid:
            self._silent.set()
        if said:
            wave = wave + np.frombuffer(said.ljust(self._frame, b"\0"), dtype="<i2")
        if self._noise:
            wave = wave + self._noise * self._random.standard_normal(len(wave))
        return bytes(np.clip(wave, -32768, 32767).astype("<i2").tobytes())

    async def _report(self) -> None:
        if not self._reports or self._turn is None or self._turn in self._cleared:
            return
        if self._turn_played == self._reported:
            return
        ran_empty = not self._unplayed
        if ran_empty or self._turn_played - self._reported >= seconds_to_bytes(0.1, self._rate):
            self._reported = self._turn_played
            played_s = bytes_to_seconds(self._turn_played, self._rate)
            await self._client.send(PlaybackProgressed(turn=self._turn, played_s=played_s))
            if ran_empty:
                await self._client.send(PlaybackCompleted(turn=self._turn))
