"""Your own engine behind a port: a language model that repeats what it was told, backwards.

    python examples/custom_provider.py

A provider is an object with one method (and, for ears and voices, a few facts about itself): an async context manager that
gives an async iterator. No base class, no registration. Timeouts and cancellation are the session's business; what fails
raises ``ProviderError`` (``compose.with_retries`` asks again).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager

import trio

from flare_actors import Agent, Message, ProviderError, TextDelta, ToolChoice, ToolSpec, run_session
from flare_actors.conversation.events import ConversationStartRequested, TextReceived
from flare_actors.conversation.notices import ResponseTextDone, TurnEnded
from flare_actors.ports import ModelOutput
from flare_actors.providers.scripted import EnergyVoiceActivity, ScriptedRecognizer, ScriptedSynthesizer
from flare_actors.testing.link import memory_link


class Backwards:
    """A ``LanguageModel``."""

    @asynccontextmanager
    async def generate(
        self,
        messages: Sequence[Message],
        *,
        locale: str,
        tools: Sequence[ToolSpec] = (),
        tool_choice: ToolChoice = "auto",
        max_tokens: int | None = None,
    ) -> AsyncIterator[AsyncIterator[ModelOutput]]:
        """Connect here; what you open around the ``yield`` is closed on every way out, cancellation included.

        The last three arguments come only where tools are offered, or a limit is asked for; leave out what your model does not
        know: it then fails, with a message that says so, instead of paying no heed.
        """
        del locale, tools, tool_choice, max_tokens
        question = messages[-1].content
        if not question:
            raise ProviderError("llm", "nothing was asked")
        async with aclosing(self._write(question)) as outputs:
            yield outputs

    async def _write(self, question: str) -> AsyncGenerator[ModelOutput, None]:
        for word in reversed(question.rstrip(".!?").split()):
            await trio.sleep(0.01)
            yield TextDelta(text=f"{word} ")
        yield TextDelta(text="it is.")


async def main() -> None:
    """One typed question, over a link in memory."""
    agent = Agent(
        language_model=Backwards(),
        recognizer=ScriptedRecognizer(),
        synthesizer=ScriptedSynthesizer(),
        voice_activity=EnergyVoiceActivity(),
    )
    client, link = memory_link()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.run)
        nursery.start_soon(run_session, link, agent)
        await client.send(ConversationStartRequested())
        await client.send(TextReceived(text="Trio is a friendly library."))
        print((await client.wait_for(ResponseTextDone)).text)
        print("heard:", (await client.wait_for(TurnEnded)).heard)
        client.close()


if __name__ == "__main__":
    trio.run(main)
