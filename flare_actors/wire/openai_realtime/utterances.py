"""What the user says, as the client is told of it: speech, the commit of the input buffer, and the words as an item."""

from __future__ import annotations

from typing import Final

import attrs

from flare_actors.conversation.items import utterance_id
from flare_actors.errors import ClientError
from flare_actors.wire.openai_realtime.audio import SAMPLE_RATE, AudioReader
from flare_actors.wire.openai_realtime.connection import Connection
from flare_actors.wire.openai_realtime.known_items import KnownItems
from flare_actors.wire.openai_realtime.responses import message_item
from flare_actors.wire.openai_realtime.session_config import Json
from flare_actors.wire.openai_realtime.settled import Settled

__all__ = ["Utterances"]

_MOST_COMMITS: Final = 16
_MS: Final = 1000
_LEAST_MS: Final = 100
"""Of audio, for a commit: what this protocol asks for."""
_NOTHING: Final = ClientError(
    "nothing_committed", f"there is nothing to be committed: less than {_LEAST_MS} ms of audio, or no speech under way"
)
_TRANSCRIPTION: Final = "conversation.item.input_audio_transcription"
_BYTES_PER_MS: Final = SAMPLE_RATE * 2 // _MS


@attrs.define
class _Heard:
    """An utterance, from its first sound to its words."""

    start_ms: int
    told: bool = False
    """The client was told that it began, and is to be told that it is over."""
    end_ms: int | None = None
    text: str | None = None
    committed: bool = False
    """The client has committed it."""
    lost: Json | None = None
    """Why its words will never be known."""
    settled: Settled = attrs.field(factory=Settled)
    """What the client was told of its words already."""


class Utterances:
    """The input buffer, and the utterances in it of which there is no item yet."""

    def __init__(self, connection: Connection, items: KnownItems) -> None:
        self._connection = connection
        self._items = items
        self._reader = AudioReader()
        self._input_bytes = 0
        self._utterances: dict[int, _Heard] = {}
        self._answered_ms = 0
        """How much audio there was when the latest answer was over."""
        self._committed_ms = 0
        """... at the latest commit or clear of the client's."""
        self._silences = 0
        self._commits: list[int] = []
        """Commits of the client's that no words have come for: where their audio begins, in milliseconds."""

    # --- From the client ----------------------------------------------------------------------------------------------

    def append(self, audio: str) -> bytes:
        """Microphone audio, as the session takes it.

        Raises:
            ClientError: that is no audio.
        """
        pcm = self._reader.read(audio, self._connection.session.audio.input.format.type)
        self._input_bytes += len(pcm)
        return pcm

    def commit(self) -> None:
        """The client says that the user has finished speaking.

        Raises:
            ClientError: there is no audio to be committed; or the server itself detects speech, and has detected none.
        """
        if self._detects:
            nothing = all(heard.text is not None for heard in self._utterances.values())
        else:
            nothing = self._now_ms - self._committed_ms < _LEAST_MS
        if nothing:
            raise _NOTHING
        self._commits.append(self._committed_ms)
        del self._commits[:-_MOST_COMMITS]
        self._committed_ms = self._now_ms
        for heard in self._utterances.values():
            heard.committed = True
        for utterance in sorted(self._utterances):
            self._tell_words(utterance)

    def ask_clear(self) -> None:
        """The client wants what it has sent by now forgotten."""
        self._committed_ms = self._now_ms

    def commit_nothing(self) -> bool:
        """No speech was found in what was committed: it is an item without words. False: nothing was committed."""
        if not self._commits:
            return False
        self._tell_silence(self._name_silence(), self._commits.pop(0))
        return True

    # --- From the session ---------------------------------------------------------------------------------------------

    @property
    def _detects(self) -> bool:
        return self._connection.session.audio.input.turn_detection is not None

    @property
    def _transcribes(self) -> bool:
        return self._connection.session.audio.input.transcription is not None

    @property
    def _now_ms(self) -> int:
        return self._input_bytes // _BYTES_PER_MS

    def _name(self, utterance: int) -> str:
        return self._connection.own(utterance_id(utterance))

    def _name_silence(self) -> str:
        self._silences += 1
        return self._connection.own(f"silence_{self._silences}")

    def start(self, utterance: int) -> None:
        """The user begins to speak."""
        detection = self._connection.session.audio.input.turn_detection
        padding_ms = (detection.prefix_padding_ms if detection is not None else None) or 0
        start_ms = max(0, self._now_ms - padding_ms)
        self._utterances[utterance] = _Heard(start_ms, told=self._detects)
        if self._detects:
            self._connection.emit(
                "input_audio_buffer.speech_started", audio_start_ms=start_ms, item_id=self._name(utterance)
            )

    def stop(self, utterance: int) -> None:
        """The user has finished."""
        heard = self._utterances.get(utterance)
        if heard is None:
            return
        self._end(utterance, heard)
        if heard.lost is not None:
            self._fail_words(utterance, heard.lost)

    def _end(self, utterance: int, heard: _Heard) -> None:
        heard.end_ms = self._now_ms
        if heard.told:
            self._connection.emit(
                "input_audio_buffer.speech_stopped", audio_end_ms=heard.end_ms, item_id=self._name(utterance)
            )

    def mark_answer(self) -> None:
        """An answer is over: the user's silence is counted from here."""
        self._answered_ms = self._now_ms

    def time_out(self) -> None:
        """The user has been silent for so long that the agent goes on: the silence is an item, without words."""
        item_id, start_ms = self._name_silence(), min(self._answered_ms, self._now_ms)
        self._connection.emit(
            "input_audio_buffer.timeout_triggered", item_id=item_id, audio_start_ms=start_ms, audio_end_ms=self._now_ms
        )
        self._tell_silence(item_id, start_ms)

    def take_partial(self, utterance: int, text: str) -> None:
        """What is understood so far. The client is told of what will hardly change; it cannot be taken back."""
        heard = self._utterances.get(utterance)
        if heard is None or not heard.told or not self._transcribes:
            return
        if delta := heard.settled.more(text):
            self._tell_delta(utterance, delta)

    def take_words(self, utterance: int, text: str) -> None:
        """What was said is understood."""
        heard = self._utterances.setdefault(utterance, _Heard(self._now_ms))
        heard.text = text
        for earlier in [number for number in self._utterances if number < utterance]:
            if self._utterances[earlier].text is None:  # Utterances are understood in order: nothing more comes of it.
                self._give_up(earlier)
        if self._detects or self._commits or heard.committed:
            self._tell_words(utterance)

    def forget(self, utterance: int) -> None:
        """There was nothing in it; a commit that nothing else is to come for was of nothing."""
        told = self._give_up(utterance)
        if any(heard.text is None for heard in self._utterances.values()):
            return
        commits, self._commits = self._commits, []
        for start_ms in commits[1:] if told else commits:
            self._tell_silence(self._name_silence(), start_ms)

    def _give_up(self, utterance: int) -> bool:
        """There will be no words. Where the client knows it by name, and waits for them, it is an item all the same."""
        heard = self._utterances.pop(utterance, None)
        if heard is None or not heard.told or not (heard.committed or heard.settled.told):
            return False
        self._tell_silence(self._name(utterance), heard.start_ms)
        return True

    def clear(self) -> None:
        """What the user was saying is forgotten."""
        for utterance, heard in self._utterances.items():
            if heard.end_ms is None:
                self._end(utterance, heard)
        self._utterances.clear()
        self._connection.emit("input_audio_buffer.cleared")

    # --- Items --------------------------------------------------------------------------------------------------------

    def _tell_delta(self, utterance: int, delta: str) -> None:
        self._connection.emit(f"{_TRANSCRIPTION}.delta", item_id=self._name(utterance), content_index=0, delta=delta)

    def _tell_item(self, item_id: str) -> None:
        """The audio is an item from now on. Its transcript is told behind it: some clients put the two together."""
        self._connection.emit(
            "input_audio_buffer.committed", previous_item_id=self._items.previous(item_id), item_id=item_id
        )
        self._items.show(message_item(item_id, "user", [{"type": "input_audio", "transcript": None}]))

    def _tell_completed(self, item_id: str, transcript: str, *, seconds: float) -> None:
        usage = {"type": "duration", "seconds": max(0.0, seconds)}
        self._connection.emit(
            f"{_TRANSCRIPTION}.completed", item_id=item_id, content_index=0, transcript=transcript, usage=usage
        )

    def _tell_silence(self, item_id: str, start_ms: int) -> None:
        """Audio without words: an item that the history never has."""
        self._tell_item(item_id)
        self._items.keep(message_item(item_id, "user", [{"type": "input_audio", "transcript": ""}]), own=True)
        if self._transcribes:
            self._tell_completed(item_id, "", seconds=(self._now_ms - start_ms) / _MS)

    def _tell_words(self, utterance: int) -> None:
        """An utterance whose words are known is an item; where the client commits, from its commit on."""
        heard = self._utterances.get(utterance)
        if heard is None or heard.text is None:
            return
        del self._utterances[utterance]
        if not any(other.committed and other.text is None for other in self._utterances.values()):
            self._commits.clear()
        item_id = self._name(utterance)
        self._tell_item(item_id)
        if not self._transcribes:
            return
        if rest := heard.settled.rest(heard.text):
            self._tell_delta(utterance, rest)
        end_ms = heard.end_ms if heard.end_ms is not None else self._now_ms
        self._tell_completed(item_id, heard.text, seconds=(end_ms - heard.start_ms) / _MS)

    def lose_words(self, error: Json) -> bool:
        """The recogniser failed: what was said is not known, and never will be. False: that is told of no utterance."""
        lost = [utterance for utterance, heard in self._utterances.items() if heard.text is None]
        for utterance in lost:
            heard = self._utterances[utterance]
            heard.lost = error
            if heard.end_ms is not None:
                self._fail_words(utterance, error)
        return bool(lost) and self._transcribes

    def _fail_words(self, utterance: int, error: Json) -> None:
        del self._utterances[utterance]
        item_id = self._name(utterance)
        self._tell_item(item_id)
        if self._transcribes:
            told = {name: error[name] for name in ("type", "code", "message", "param") if error[name] is not None}
            self._connection.emit(f"{_TRANSCRIPTION}.failed", item_id=item_id, content_index=0, error=told)
        self._items.delete(item_id)
