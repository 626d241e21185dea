"""Which words of a transcript that still changes may be told already: those that two transcripts in a row agree on.

Local agreement: Liu, Spanakis, Niehues, "Low-Latency Sequence-to-Sequence Speech Recognition and Translation by Partial
Hypothesis Selection" (Interspeech 2020); for live transcription Machacek, Dabre, Bojar, "Turning Whisper into Real-Time
Transcription System" (IJCNLP-AACL 2023).
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["Settled"]

_WORD: Final = re.compile(r"\S+")


class Settled:
    """What a client was told of one utterance's words. It only ever grows, so that nothing has to be taken back."""

    def __init__(self) -> None:
        self.told = ""
        """All of it."""
        self._before: list[str] = []
        """The words of the transcript before."""

    def more(self, transcript: str) -> str:
        """What may be told of the transcript so far, behind what was; nothing while it contradicts that."""
        transcript = transcript.strip()
        words = list(_WORD.finditer(transcript))
        before, self._before = self._before, [word.group() for word in words]
        agreed = 0
        for word, known in zip(self._before, before, strict=False):
            if word != known:
                break
            agreed += 1
        return self._tell(transcript, words[agreed - 1].end() if agreed else 0)

    def rest(self, transcript: str) -> str:
        """What is left of the transcript in the end; nothing where it contradicts what was told."""
        return self._tell(transcript, len(transcript))

    def _tell(self, transcript: str, end: int) -> str:
        if end <= len(self.told) or not transcript.startswith(self.told):
            return ""
        begin, self.told = len(self.told), transcript[:end]
        return self.told[begin:]
