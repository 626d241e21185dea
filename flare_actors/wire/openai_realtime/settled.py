"""Which words of a transcript that still changes may be told already: those that some transcripts in a row agree on.

Local agreement: Liu, Spanakis, Niehues, "Low-Latency Sequence-to-Sequence Speech Recognition and Translation by Partial
Hypothesis Selection" (Interspeech 2020); for live transcription Machacek, Dabre, Bojar, "Turning Whisper into Real-Time
Transcription System" (IJCNLP-AACL 2023).
"""

from __future__ import annotations

import re
from collections import deque
from typing import Final

__all__ = ["Settled"]

_WORD: Final = re.compile(r"\S+")
_AGREE: Final = 3
"""So many transcripts in a row. Two, as the papers have it, are contradicted more than twice as often by the embedded
recogniser's last word: it moves commas and full stops."""


class Settled:
    """What a client was told of one utterance's words. It only ever grows, so that nothing has to be taken back."""

    def __init__(self) -> None:
        self.told = ""
        """All of it."""
        self._before: deque[list[str]] = deque(maxlen=_AGREE - 1)
        """The words of the transcripts before."""

    def more(self, transcript: str) -> str:
        """What may be told of the transcript so far, behind what was; nothing while it contradicts that."""
        transcript = transcript.strip()
        spans = list(_WORD.finditer(transcript))
        words = [word.group() for word in spans]
        agreed = 0
        if len(self._before) == _AGREE - 1:
            for same in zip(words, *self._before, strict=False):
                if len(set(same)) > 1:
                    break
                agreed += 1
        self._before.append(words)
        return self._tell(transcript, spans[agreed - 1].end() if agreed else 0)

    def rest(self, transcript: str) -> str:
        """What is left of the transcript in the end; nothing where it contradicts what was told."""
        return self._tell(transcript, len(transcript))

    def _tell(self, transcript: str, end: int) -> str:
        if end <= len(self.told) or not transcript.startswith(self.told):
            return ""
        begin, self.told = len(self.told), transcript[:end]
        return self.told[begin:]
