"""The real model on the real server. What it answers is never asserted, only that and how."""

from __future__ import annotations

import gc
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager

import pytest
import trio

from flare_actors.errors import ConfigError, ProviderError
from flare_actors.ports import LanguageModel, Message, TextDelta, Usage
from flare_actors.providers.llama_local import LlamaLocal, LlamaSettings, open_llama_local
from flare_actors.providers.openai_chat import OpenAIChat, OpenAISettings

HELLO = [Message(role="system", content="Be short."), Message(role="user", content="Hello, how are you?")]
# One thread: several wait for each other by spinning, which on a machine where other tests run takes ten times as long.
SETTINGS = LlamaSettings(slots=1, context_tokens=512, max_tokens=12, threads=1)


@pytest.fixture
async def llama() -> AsyncGenerator[LlamaLocal]:
    async with open_llama_local(SETTINGS) as model:
        yield model


async def answer(model: LlamaLocal, messages: list[Message]) -> tuple[str, Usage]:
    async with model.generate(messages, locale="en") as outputs:
        *parts, usage = [each async for each in outputs]
    assert isinstance(usage, Usage)
    return "".join(each.text for each in parts if isinstance(each, TextDelta)), usage


@pytest.mark.needs("weights")
async def test_it_answers_in_words_and_says_what_it_cost(llama):
    await llama.prepare("Be short.")
    text, usage = await answer(llama, HELLO)

    assert any(map(str.isalpha, text))
    assert usage.input_tokens > 100, "the example turns are shown"
    assert 0 < usage.output_tokens <= 12
    assert isinstance(llama, LanguageModel)


@pytest.mark.needs("weights")
async def test_a_conversation_beyond_its_memory_is_cut_to_fit(llama):
    turns = [Message(role="user" if i % 2 == 0 else "assistant", content="And so on. " * 20) for i in range(60)]
    endless = [*turns, Message(role="user", content="好" * 4_000)]

    _, usage = await answer(llama, endless)

    assert usage.input_tokens <= 512 - 12


@pytest.mark.needs("weights")
async def test_leaving_an_answer_ends_it_on_the_server():
    story = [Message(role="user", content="Count from one to one thousand, every number.")]
    settings = LlamaSettings(slots=1, context_tokens=1024, max_tokens=500, examples=False, threads=1)
    async with open_llama_local(settings) as llama:
        async with llama.generate(story, locale="en") as outputs:
            await anext(outputs)
        with trio.CancelScope() as scope:
            async with llama.generate(story, locale="en") as outputs:
                async for _ in outputs:
                    scope.cancel()
        gc.collect()

        while (now := await llama.statistics()).answering:
            pass  # the server notices between two tokens; without us it would write on to 500
        assert now.tokens_written < 100


class Chat:
    """Writes a word a second, and remembers when it was asked."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self.started = trio.current_time()

    @asynccontextmanager
    async def generate(self, *_: object, **__: object) -> AsyncGenerator[AsyncGenerator[TextDelta]]:
        self.asked.append(trio.current_time() - self.started)
        async with aclosing(self._words()) as words:
            yield words

    async def _words(self) -> AsyncGenerator[TextDelta]:
        for _ in range(3):
            await trio.sleep(1)
            yield TextDelta(text="word")


async def test_who_changes_a_question_at_once_is_answered_from_what_is_computed_of_it(autojump_clock):
    """The server needs a moment to let go of the answer that nobody wants any more."""
    chat = Chat()
    model = LlamaLocal(chat, str, SETTINGS)
    other = [Message(role="system", content="Be long."), HELLO[1]]

    for messages in (HELLO, [HELLO[0], Message(role="user", content="Hello!")], other):
        with trio.move_on_after(1.5):
            async with model.generate(messages, locale="en") as outputs:
                [_ async for _ in outputs]
    await trio.sleep(0.02)
    async with model.generate(other, locale="en") as outputs:
        assert len([each async for each in outputs]) == 3

    assert [round(at, 2) for at in chat.asked] == [0.0, 1.55, 3.0, 4.55]


@pytest.mark.needs("weights")
async def test_four_slots_answer_four_at_once():
    async with (
        open_llama_local(LlamaSettings(slots=4, max_tokens=8, examples=False, threads=1)) as model,
        trio.open_nursery() as nursery,
    ):
        for _ in range(4):
            nursery.start_soon(answer, model, HELLO)


@pytest.mark.needs("weights")
async def test_nobody_else_on_this_machine_may_ask_it(llama):
    url = llama._chat.settings.base_url
    assert url.startswith("http://127.0.0.1:")
    stranger = OpenAIChat(OpenAISettings(base_url=url), api_key="guess")

    with pytest.raises(ProviderError, match="refuses the API key"):
        await stranger.check()

    await stranger.aclose()


@pytest.mark.needs("weights")
async def test_the_server_is_gone_when_the_block_is_left():
    async with open_llama_local(SETTINGS) as model:
        url = model._chat.settings.base_url
    late = OpenAIChat(OpenAISettings(base_url=url))

    with pytest.raises(ProviderError, match="is the server running"):
        await late.check()

    await late.aclose()


@pytest.mark.needs("local")
async def test_a_file_that_is_no_model_is_a_clear_error(tmp_path):
    nonsense = tmp_path / "model.gguf"
    nonsense.write_bytes(b"GGUF, but no more")

    with pytest.raises(ConfigError, match="is it a GGUF model"):
        async with open_llama_local(LlamaSettings(model=nonsense)):
            pass
    with pytest.raises(ConfigError, match="no file at"):
        async with open_llama_local(LlamaSettings(model=tmp_path / "absent.gguf")):
            pass


async def test_without_weights_the_error_says_what_to_run(tmp_path, monkeypatch):
    monkeypatch.setenv("FLARE_ACTORS_CACHE", str(tmp_path))

    with pytest.raises(ConfigError, match="flare-actors models fetch smollm2-135m"):
        async with open_llama_local():
            pass


def test_a_context_that_holds_no_answer_is_refused():
    with pytest.raises(ValueError, match="twice max_tokens"):
        LlamaSettings(context_tokens=512, max_tokens=400)
