"""Tools: functions that the language model may call while it answers.

    python examples/tools.py

The signature is the schema, the docstring the description. What the model sends is checked against the types; what does not
fit, and what a function raises, is told to the model, which can try again or say so. Put ``language_model=OpenAIChat(...)``
where the script is, and a real model makes the calls.
"""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import attrs
import trio

from flare_actors import Agent, Settings, Timeouts, ToolCall, ToolError, run_session, tool
from flare_actors.conversation.events import ConversationStartRequested, TextReceived
from flare_actors.conversation.notices import TurnEnded
from flare_actors.providers.scripted import (
    EnergyVoiceActivity,
    ScriptedLanguageModel,
    ScriptedRecognizer,
    ScriptedSynthesizer,
)
from flare_actors.testing.link import memory_link


class Unit(Enum):
    """Of temperatures."""

    CELSIUS = "celsius"
    FAHRENHEIT = "fahrenheit"


@attrs.frozen
class Weather:
    """A result may be any value that JSON can hold: attrs classes, lists, numbers."""

    sky: str
    degrees: float


# Safe: it only looks something up, so it may run while it is not certain yet that the user has finished speaking.
@tool(safe=True, timeout_s=5, filler="One moment, please.", filler_after_s=0.1)
async def get_weather(city: Annotated[str, "its name, in English"], unit: Unit = Unit.CELSIUS) -> Weather:
    """The weather in a city, now."""
    await trio.sleep(0.3)  # An HTTP request, say. The user hears the filler.
    if city != "Berlin":
        raise ToolError(f"no weather station in {city}; there is one in Berlin")  # The model reads this.
    return Weather(sky="blue", degrees=21.5 if unit is Unit.CELSIUS else 70.7)


# In the background: the turn does not wait for it, an interruption does not end it, and when it is done the agent says so.
@tool(detached=True, announced=True)
async def book_table(guests: int, name: str) -> str:
    """Book a table at the restaurant. Takes a while."""
    await trio.sleep(0.5)
    return f"a table for {guests} is booked for {name}"


# Not async: it runs in a worker thread, so it may block.
@tool
def remember(note: str) -> None:
    """Write something down for later."""
    print("noted:", note)


def model() -> ScriptedLanguageModel:
    """What a real model would decide by itself."""
    return ScriptedLanguageModel(
        script=[
            [
                ToolCall(call="1", name="get_weather", arguments='{"city": "Paris"}'),
                ToolCall(call="2", name="get_weather", arguments='{"city": "Berlin"}'),
                ToolCall(call="3", name="remember", arguments='{"note": "likes Berlin"}'),
            ],
            "I only know Berlin: the sky is blue.",
            [ToolCall(call="4", name="book_table", arguments='{"guests": 2, "name": "Ada"}')],
            "I am booking it.",
            "Your table is booked.",
        ]
    )


async def main() -> None:
    """Two typed questions, over a link in memory."""
    agent = Agent(
        language_model=model(),
        recognizer=ScriptedRecognizer(),
        synthesizer=ScriptedSynthesizer(chars_per_second=200),
        voice_activity=EnergyVoiceActivity(),
        tools=[get_weather, book_table, remember],
        settings=Settings(timeouts=Timeouts(tool_s=10)),
    )
    client, link = memory_link()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.run)
        nursery.start_soon(run_session, link, agent)
        await client.send(ConversationStartRequested())
        for turn, question in enumerate(["What is the weather like?", "A table for two, please. I am Ada."], start=1):
            await client.send(TextReceived(text=question))
            print("agent:", (await client.wait_for(TurnEnded, count=turn)).heard)
        print("agent:", (await client.wait_for(TurnEnded, count=3)).heard)  # All by itself.
        client.close()


if __name__ == "__main__":
    trio.run(main)
