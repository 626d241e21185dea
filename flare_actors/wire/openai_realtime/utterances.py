"""What the user says, as the client is told of it: speech, the commit of the input buffer, and the words as an item."""

from __future__ import annotations

from typing import Final

import attrs

from flare_actors.conversation.items import utterance_id
from flare_actors.errors import ClientError
from flare_actors.wire.openai_realtime.audio import SAMPLE_RATE, AudioReader
from flare_actors.wire.openai_realtime.connection import Asked, Connection
from flare_actors.wire.openai_realtime.errors import client_error
from flare_actors.wire.openai_realtime.known_items import KnownItems
from flare_actors.wire.openai_realtime.responses import message_item
from flare_actors.wire.openai_realtime.session_config import Json

__all__ = ["Utterances"]

_MOST_COMMITS: Final = 16
_MS: Final = 1000
_NOTHING: Final = ClientError("nothing_committed", "no speech was heard since the last commit")
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
        self._silences = 0
        self._commits: list[str | None] = []
        """Event ids of the client's commits that no words have come for."""

    # --- From the client ----------------------------------------------------------------------------------------------

    def append(self, audio: str) -> bytes:
        """Microphone audio, as the session takes it.

        Raises:
            ClientError: that is no audio.
        """
        pcm = self._reader.read(audio, self._connection.session.audio.input.format.type)
        self._input_bytes += len(pcm)
        return pcm

    def commit(self, event_id: str | None) -> None:
        """The client says that the user has finished speaking.

        Raises:
            ClientError: where the server itself detects speech, and has detected none.
        """
        if self._detects and all(heard.text is not None for heard in self._utterances.values()):
            raise _NOTHING
        self._commits.append(event_id)
        del self._commits[:-_MOST_COMMITS]
        for heard in self._utterances.values():
            heard.committed = True
        for utterance in sorted(self._utterances):
            self._tell_words(utterance)

    def refuse_commit(self) -> Asked | None:
        """There was nothing to be committed: the commit that this is about."""
        if not self._commits:
            return None
        return Asked(name="input_audio_buffer.commit", event_id=self._commits.pop())

    # --- From the session ---------------------------------------------------------------------------------------------

    @property
    def _detects(self) -> bool:
        return self._connection.session.audio.input.turn_detection is not None

    @property
    def _now_ms(self) -> int:
        return self._input_bytes // _BYTES_PER_MS

    def start(self, utterance: int) -> None:
        """The user begins to speak."""
        detection = self._connection.session.audio.input.turn_detection
        padding_ms = (detection.prefix_padding_ms if detection is not None else None) or 0
        start_ms = max(0, self._now_ms - padding_ms)
        self._utterances[utterance] = _Heard(start_ms, told=self._detects)
        if self._detects:
            self._connection.emit(
                "input_audio_buffer.speech_started", audio_start_ms=start_ms, item_id=utterance_id(utterance)
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
                "input_audio_buffer.speech_stopped", audio_end_ms=heard.end_ms, item_id=utterance_id(utterance)
            )

    def mark_answer(self) -> None:
        """An answer is over: the user's silence is counted from here."""
        self._answered_ms = self._now_ms

    def time_out(self) -> None:
        """The user has been silent for so long that the agent goes on: the silence is an item, without words."""
        self._silences += 1
        item_id = f"silence_{self._connection.token}_{self._silences}"
        now_ms = self._now_ms
        emit = self._connection.emit
        emit(
            "input_audio_buffer.timeout_triggered",
            item_id=item_id,
            audio_start_ms=min(self._answered_ms, now_ms),
            audio_end_ms=now_ms,
        )
        emit("input_audio_buffer.committed", previous_item_id=self._items.previous(item_id), item_id=item_id)
        transcribed = self._connection.session.audio.input.transcription is not None
        shown = message_item(item_id, "user", [{"type": "input_audio", "transcript": "" if transcribed else None}])
        self._items.show(shown)
        self._items.keep(shown, own=True)
        if transcribed:
            emit(
                "conversation.item.input_audio_transcription.completed",
                item_id=item_id,
                content_index=0,
                transcript="",
                usage={"type": "duration", "seconds": (now_ms - self._answered_ms) / _MS},
            )

    def take_words(self, utterance: int, text: str) -> None:
        """What was said is understood."""
        heard = self._utterances.setdefault(utterance, _Heard(self._now_ms))
        heard.text = text
        for earlier in [number for number in self._utterances if number < utterance]:
            if self._utterances[earlier].text is None:
                del self._utterances[earlier]  # Utterances are understood in order: nothing comes of it any more.
        if self._detects or self._commits or heard.committed:
            self._tell_words(utterance)

    def forget(self, utterance: int) -> None:
        """There was nothing in it; a commit that nothing else is to come for was of nothing."""
        self._utterances.pop(utterance, None)
        if any(heard.text is None for heard in self._utterances.values()):
            return
        commits, self._commits = self._commits, []
        for event_id in commits:
            self._connection.emit("error", error=client_error(_NOTHING, event_id))

    def clear(self) -> None:
        """What the user was saying is forgotten."""
        for utterance, heard in self._utterances.items():
            if heard.end_ms is None:
                self._end(utterance, heard)
        self._utterances.clear()
        self._connection.emit("input_audio_buffer.cleared")

    def _tell_words(self, utterance: int) -> None:
        """An utterance whose words are known is an item; where the client commits, from its commit on."""
        heard = self._utterances.get(utterance)
        if heard is None or heard.text is None:
            return
        del self._utterances[utterance]
        if not any(other.committed and other.text is None for other in self._utterances.values()):
            self._commits.clear()
        emit = self._connection.emit
        item_id = utterance_id(utterance)
        emit("input_audio_buffer.committed", previous_item_id=self._items.previous(item_id), item_id=item_id)
        transcribed = self._connection.session.audio.input.transcription is not None
        content: Json = {"type": "input_audio", "transcript": heard.text if transcribed else None}
        self._items.show(message_item(item_id, "user", [content]))
        if not transcribed:
            return
        kind = "conversation.item.input_audio_transcription"
        emit(f"{kind}.delta", item_id=item_id, content_index=0, delta=heard.text)
        end_ms = heard.end_ms if heard.end_ms is not None else self._now_ms
        usage = {"type": "duration", "seconds": max(0, end_ms - heard.start_ms) / _MS}
        emit(f"{kind}.completed", item_id=item_id, content_index=0, transcript=heard.text, usage=usage)

    def lose_words(self, error: Json) -> None:
        """The recogniser failed: what was said is not known, and never will be."""
        for utterance, heard in list(self._utterances.items()):
            heard.lost = error
            if heard.end_ms is not None and heard.text is None:
                self._fail_words(utterance, error)

    def _fail_words(self, utterance: int, error: Json) -> None:
        del self._utterances[utterance]
        emit = self._connection.emit
        item_id = utterance_id(utterance)
        emit("input_audio_buffer.committed", previous_item_id=self._items.previous(item_id), item_id=item_id)
        self._items.show(message_item(item_id, "user", [{"type": "input_audio", "transcript": None}]))
        emit(
            "conversation.item.input_audio_transcription.failed",
            item_id=item_id,
            content_index=0,
            error={name: error[name] for name in ("type", "code", "message", "param")},
        )
        self._items.delete(item_id)
