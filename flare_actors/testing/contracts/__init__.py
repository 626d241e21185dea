"""Does my engine, or my transport, keep what its port asks for? Checks for whoever implements one.

    from flare_actors.testing.contracts import check_language_model

    async def test_my_model_keeps_the_port_s_promises() -> None:
        await check_language_model(open_my_model)  # or MyModel, if it needs no closing

A check asks for stream after stream: whole ones, several at a time, ones that are left early, ones that are cancelled at every
wait and before every step, with empty input, under a deadline, after the close. (A detector has no streams: it is opened
so, and must hear the same in any company.) It raises one ``ContractBroken`` that lists every rule that was broken, with what
happened and what to do.

It runs on virtual time (``trio.testing.MockClock``) as well as on the clock; engines that work in threads or over a network
need the latter, since virtual time does not wait for them. An engine that never lets go of a cancelled stream cannot be
stopped by anybody, so neither can its check; it tells on stderr what it waits for.
"""

from flare_actors.testing.contracts.language_model import check_language_model
from flare_actors.testing.contracts.link import FarEnd, check_client_link, memory_pair
from flare_actors.testing.contracts.recognizer import check_recognizer
from flare_actors.testing.contracts.rules import ContractBroken
from flare_actors.testing.contracts.synthesizer import check_synthesizer
from flare_actors.testing.contracts.voice_activity import check_voice_activity

__all__ = [
    "ContractBroken",
    "FarEnd",
    "check_client_link",
    "check_language_model",
    "check_recognizer",
    "check_synthesizer",
    "check_voice_activity",
    "memory_pair",
]
