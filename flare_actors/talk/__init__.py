"""``flare-actors talk``: a recording as the user, measured from outside."""

from flare_actors.talk.report import STAGES, Latency, TalkReport, TurnReport
from flare_actors.talk.talk import TalkError, talk
from flare_actors.talk.wav import Recording, read_wav, write_wav

__all__ = ["STAGES", "Latency", "Recording", "TalkError", "TalkReport", "TurnReport", "read_wav", "talk", "write_wav"]
