"""Engines that take a whole and give a whole, behind ports that stream.

redecode    when an utterance is worth a decode: ahead of its endpoint, for a partial transcript, in pieces
recognizer  any recogniser that gives final transcripts only, with partial ones
synthesizer any function from a sentence to its audio, as a synthesizer
"""

from flare_actors.providers.batch.recognizer import with_partials
from flare_actors.providers.batch.redecode import Redecoding
from flare_actors.providers.batch.synthesizer import PhraseSynthesizer

__all__ = ["PhraseSynthesizer", "Redecoding", "with_partials"]
