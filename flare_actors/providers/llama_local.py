"""A demo brain that needs nothing but pip: SmolLM2-135M on llama.cpp's server, in this process, on the CPU.

It has 135 million parameters: its answers have the right shape, and their content is not to be relied on. Its worth is that
a fresh machine talks within a minute. The same engine runs any other GGUF file (``model``), and a served model is one
setting away (``openai_chat``).

The server listens on a random port of the loopback interface behind a random API key, speaks the OpenAI-compatible API, and
is asked through ``OpenAIChat`` like any other.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import attrs
import trio

from flare_actors.errors import ConfigError, ProviderError
from flare_actors.ports import Message, ModelOutput, ToolChoice, ToolSpec
from flare_actors.providers._extras import need
from flare_actors.providers._prompt import EXAMPLES, MIN_BUDGET, fit, tokens_of_tools
from flare_actors.providers.catalog import SMOLLM2
from flare_actors.providers.openai_chat import OpenAIChat, OpenAISettings
from flare_actors.providers.provider import Provider
from flare_actors.providers.weights import path_of

__all__ = ["PROVIDER", "LlamaLocal", "LlamaSettings", "LlamaStatistics", "open_llama_local"]

# A prompt is computed in steps of this many tokens, between which other answers go on and a cancelled one stops.
BATCH_TOKENS: Final = 256
# The server notices between two tokens that nobody wants an answer any more. Asked sooner, it gives the conversation another
# slot, in which nothing of it is computed: measured, 150 tokens instead of 20, even without a history.
LET_GO_S: Final = 0.05
PROMPT_CACHE_MIB: Final = 256  # conversations whose slot was taken by another; llama.cpp's own default is 8 GiB


@attrs.frozen(kw_only=True)
class LlamaSettings:
    """Which model, how many answers at a time, and how it samples."""

    model: Path | None = None
    """A GGUF file; none: SmolLM2-135M from the weights' cache."""
    slots: int = attrs.field(default=4, validator=[attrs.validators.ge(1), attrs.validators.le(64)])
    """Answers that are written at a time, by all sessions together; more wait. Each has a KV cache of its own."""
    context_tokens: int = attrs.field(default=1024, validator=[attrs.validators.ge(512), attrs.validators.le(131_072)])
    """Instructions, conversation and answer, per slot; older turns are left out (23 MB per 1,000 tokens and slot)."""
    max_tokens: int = attrs.field(default=48, validator=[attrs.validators.ge(1), attrs.validators.le(4_096)])
    """Longest answer."""
    temperature: float = attrs.field(default=0.2, validator=[attrs.validators.ge(0), attrs.validators.le(2)])
    min_p: float = attrs.field(default=0.1, validator=[attrs.validators.ge(0), attrs.validators.le(1)])
    """Tokens less likely than this share of the likeliest one are never chosen."""
    repeat_penalty: float = attrs.field(default=1.1, validator=[attrs.validators.ge(1), attrs.validators.le(2)])
    threads: int = attrs.field(default=0, validator=[attrs.validators.ge(0), attrs.validators.le(256)])
    """CPU threads; 0: as many as there are cores to compute a prompt, one less to write, four at most. llama.cpp's threads
    spin while they wait for each other: while an answer is written the voice wants a core, too, and every token would come
    later."""
    examples: bool = True
    """Show the model three example turns before the conversation; a small model needs them."""

    @context_tokens.validator
    def _holds_an_answer(self, _: object, value: int) -> None:
        if value < 2 * getattr(self, "max_tokens", 0):
            raise ValueError("must be at least twice max_tokens")


@attrs.frozen(kw_only=True)
class LlamaStatistics:
    """What the server has done since it was started, and what it does now."""

    tokens_written: int
    answering: int
    """Requests at work."""
    waiting: int
    """Requests that wait for a slot."""


class LlamaLocal:
    """llama.cpp in this process, for all sessions. Made by ``open_llama_local``.

    Args:
        chat: asks the server.
        metrics: the server's counters as Prometheus text; blocks for up to one step of its work.
        settings: as given.
    """

    def __init__(self, chat: OpenAIChat, metrics: Callable[[], str], settings: LlamaSettings) -> None:
        self.settings = settings
        self._chat = chat
        self._metrics = metrics
        self._left: tuple[list[Message], float] | None = None
        """Whose stream was left last, by what its conversation began with, and when (on Trio's clock)."""

    @asynccontextmanager
    async def generate(
        self,
        messages: Sequence[Message],
        *,
        locale: str,
        tools: Sequence[ToolSpec] = (),
        tool_choice: ToolChoice = "auto",
        max_tokens: int | None = None,
    ) -> AsyncGenerator[AsyncIterator[ModelOutput]]:
        """Answer the last message; see ``ports.LanguageModel`` and ``OpenAIChat.generate``.

        Asked again in the moment in which an answer was given up, it waits until the server has let go of that one: what is
        computed of the conversation is used again.

        Tools are for models that were trained to call them; SmolLM2-135M, the demo brain, was not.
        """
        prompt = self._prompt(messages, tools)
        if self._left is not None and self._left[0] == prompt[:-1]:
            await trio.sleep_until(self._left[1] + LET_GO_S)
        try:
            async with self._chat.generate(
                prompt, locale=locale, tools=tools, tool_choice=tool_choice, max_tokens=max_tokens
            ) as outputs:
                yield outputs
        finally:
            self._left = (prompt[:-1], trio.current_time())

    async def prepare(self, instructions: str, *, slots: int | None = None) -> None:
        """Compute what every conversation begins with: the first token then comes in 15-60 ms instead of 300-500.

        Args:
            instructions: the agent's system message; empty: none.
            slots: how many slots to prepare, each about 0.4 s of work; none: all. A slot that was not is as quick from
                its second answer on.

        Raises:
            ProviderError: the model failed.
        """
        messages = [Message(role="system", content=instructions)] if instructions else []
        prompt = self._prompt([*messages, Message(role="user", content="Hello.")])
        for slot in range(self.settings.slots if slots is None else slots):
            async with self._chat.generate(prompt, locale="en", max_tokens=1, extra={"id_slot": slot}) as outputs:
                async for _ in outputs:
                    pass

    async def statistics(self) -> LlamaStatistics:
        """Ask the server what it does."""
        lines = (await trio.to_thread.run_sync(self._metrics)).splitlines()
        counters = dict(line.split() for line in lines if line and not line.startswith("#"))
        return LlamaStatistics(
            tokens_written=int(float(counters["llamacpp:tokens_predicted_total"])),
            answering=int(float(counters["llamacpp:requests_processing"])),
            waiting=int(float(counters["llamacpp:requests_deferred"])),
        )

    def _prompt(self, messages: Sequence[Message], tools: Sequence[ToolSpec] = ()) -> list[Message]:
        budget = self.settings.context_tokens - self.settings.max_tokens - tokens_of_tools(tools)
        if budget < MIN_BUDGET:
            raise ProviderError(
                "llm",
                f"{len(tools)} tools fill the model's context; offer fewer, or give it more (context_tokens)",
                critical=True,
            )
        return fit(messages, budget=budget, examples=EXAMPLES if self.settings.examples else ())


@asynccontextmanager
async def open_llama_local(settings: LlamaSettings | None = None) -> AsyncGenerator[LlamaLocal]:
    """Load the model and serve it until the block is left.

    Loading takes 0.4-0.7 s, during which the library holds the GIL: do it before there are sessions.

    Raises:
        ConfigError: xllamacpp is not installed, the weights are not here, or the file is no model.
    """
    settings = settings or LlamaSettings()
    path = settings.model or path_of(SMOLLM2)
    if not path.is_file():
        raise ConfigError(f"[providers.llm] model: no file at '{path}'; give a GGUF file, or leave it out for SmolLM2")
    key = secrets.token_urlsafe(24)
    servers = [await trio.to_thread.run_sync(_serve, path, key, settings)]
    try:
        chat = OpenAIChat(
            OpenAISettings(
                base_url=f"{servers[0].listening_address}/v1",
                model=path.stem,
                temperature=settings.temperature,
                max_tokens=settings.max_tokens,
                extra={"min_p": settings.min_p, "repeat_penalty": settings.repeat_penalty},
            ),
            api_key=key,
        )
        try:
            await chat.open()
            yield LlamaLocal(chat, lambda: str(servers[0].handle_metrics()), settings)
        finally:
            # Connections first: the server's destructor waits for open answers (up to half a minute), holding the GIL.
            with trio.CancelScope(shield=True):
                await chat.aclose()
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(servers.clear)


def _serve(path: Path, key: str, settings: LlamaSettings) -> Any:  # noqa: ANN401 - the wheel has no types
    xllamacpp = need("xllamacpp")
    cores = min(4, os.cpu_count() or 1)
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.model_alias = {path.stem}
    params.n_parallel = settings.slots
    params.n_ctx = settings.context_tokens * settings.slots
    params.n_batch = BATCH_TOKENS
    params.n_predict = settings.max_tokens
    params.cache_ram_mib = PROMPT_CACHE_MIB
    params.cpuparams.n_threads = settings.threads or max(1, cores - 1)
    params.cpuparams_batch.n_threads = settings.threads or cores
    params.fit_params = False
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [key]
    params.ui = False
    params.cors_origins = ""
    params.endpoint_metrics = True  # behind the key, like all the rest
    params.endpoint_slots = False
    params.endpoint_props = False
    params.verbosity = -1
    try:
        return xllamacpp.Server(params)
    except RuntimeError as error:
        raise ConfigError(
            f"llama.cpp cannot load '{path}': is it a GGUF model, and complete? "
            f"`flare-actors models verify` tells, `flare-actors models fetch --again` mends ({error})"
        ) from error


PROVIDER: Final = Provider(
    stage="llm",
    name="local",
    summary="SmolLM2-135M, a demo brain, or any GGUF file, in this process",
    settings=LlamaSettings,
    open=open_llama_local,
    needs=lambda settings: () if settings.model is not None else (SMOLLM2,),
)
