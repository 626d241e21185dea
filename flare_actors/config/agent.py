"""From a configuration to a loaded agent: the one place where settings become engines."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import import_module
from typing import Protocol, cast, get_args, runtime_checkable

import structlog

from flare_actors.agent import Agent
from flare_actors.config.model import Config, ProviderChoice
from flare_actors.errors import ConfigError, ProviderError, Stage
from flare_actors.ports import LanguageModel, Recognizer, Synthesizer, ToolSpec, VoiceActivity
from flare_actors.providers import registry
from flare_actors.providers.batch import with_partials
from flare_actors.providers.compose import Attempts, fallback
from flare_actors.providers.local import check_local, ensure_weights
from flare_actors.providers.weights import ProgressCallback
from flare_actors.tools import Offer, Tool, as_tools

__all__ = ["open_agent"]

_log = structlog.get_logger("flare_actors.config")


@runtime_checkable
class _Preparable(Protocol):
    """A model that can read its instructions ahead of the first question."""

    async def prepare(self, instructions: str, *, slots: int | None = None) -> None: ...


@asynccontextmanager
async def open_agent(config: Config, *, progress: ProgressCallback | None = None) -> AsyncGenerator[Agent]:
    """Load the configured engines, fetching weights that are missing; leaving the block closes them.

    Args:
        config: what to load.
        progress: told, in a worker thread, how far a fetch is.

    Raises:
        ConfigError: an engine is not installed, weights cannot be fetched, or a setting does not fit.
        UnsupportedLocale: an engine does not know the configured locale.

    Cancellation: a download stops within a tenth of a second; a model that is being loaded is waited for.
    """
    stages: tuple[Stage, ...] = get_args(Stage)
    chosen = [(stage, choice) for stage in stages for choice in config.providers[stage].all]
    if all(choice.use == registry.names(stage)[0] for stage, choice in chosen):
        check_local()  # all that is missing in one sentence, before anything is fetched
    needed = [
        weights.name
        for stage, choice in chosen
        for weights in registry.provider(stage, choice.use).needs(choice.settings)
        if weights.fetched  # what comes with an engine's package is that engine's own business
    ]
    await ensure_weights(needed, progress)
    tools = _tools(config.agent.tools)  # what is not found is told before anything is loaded
    async with AsyncExitStack() as stack:
        engines = {
            stage: await _open(stage, config.providers[stage], config.agent.instructions, stack) for stage in stages
        }
        agent = Agent(
            voice_activity=cast("VoiceActivity", engines["vad"]),
            recognizer=cast("Recognizer", engines["stt"]),
            language_model=cast("LanguageModel", engines["llm"]),
            synthesizer=cast("Synthesizer", engines["tts"]),
            instructions=config.agent.instructions,
            tools=tools,
            settings=config.conversation,
        )
        agent.check_locale(config.conversation)
        yield agent


def _tools(names: Sequence[str]) -> tuple[Tool | ToolSpec, ...]:
    try:
        return as_tools([_found(name) for name in names])
    except (TypeError, ValueError) as error:
        raise ConfigError(f"[agent] tools: {error}") from None


def _found(name: str) -> Offer:
    module, _, function = name.partition(":")
    try:
        found: object = getattr(import_module(module), function)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"[agent] tools: {name!r}: Python finds no module {error.name!r}; is its folder on PYTHONPATH?"
        ) from None
    except AttributeError:
        raise ConfigError(f"[agent] tools: {name!r}: the module has no {function!r}") from None
    if not (isinstance(found, Tool | ToolSpec) or callable(found)):
        raise ConfigError(f"[agent] tools: {name!r} is no function")
    return found


async def _open(stage: Stage, choice: ProviderChoice, instructions: str, stack: AsyncExitStack) -> object:
    """Open a stage's provider, with those that it falls back on."""
    engines = [
        await stack.enter_async_context(registry.open_provider(stage, each.use, each.settings)) for each in choice.all
    ]
    for engine in engines:
        if isinstance(engine, _Preparable):
            await engine.prepare(instructions, slots=1)
    engines = [
        engine if each.redecoding is None else with_partials(cast("Recognizer", engine), each.redecoding)
        for engine, each in zip(engines, choice.all, strict=True)
    ]
    if not choice.composed:
        return engines[0]

    def tell(engine: LanguageModel, broken: bool, error: ProviderError | None) -> None:  # noqa: FBT001 - as it is called
        number = next(number for number, each in enumerate(engines) if each is engine)
        where = f"[providers.{stage}]" if not number else f"[[providers.{stage}.fallback]] no. {number}"
        if broken:
            why = error.message if error is not None else "slower than the next one, three times in a row"
            _log.warning("provider_broken", stage=stage, use=choice.all[number].use, where=where, error=why)
        else:
            _log.info("provider_works_again", stage=stage, use=choice.all[number].use, where=where)

    return await stack.enter_async_context(
        fallback(
            cast("list[LanguageModel]", engines),  # or all recognisers, or all synthesizers
            attempts=[each.attempts or Attempts() for each in choice.all],
            switching=choice.switching,
            tell=tell,
        )
    )
