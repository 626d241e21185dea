"""All four embedded engines at once: loaded, warmed, and shared by every session of the process."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager

import attrs
import trio

from flare_actors.ports import LanguageModel, Recognizer, Synthesizer, VoiceActivity
from flare_actors.providers import weights
from flare_actors.providers._extras import check_local
from flare_actors.providers.catalog import MODELS
from flare_actors.providers.hibari import HibariSettings, open_hibari
from flare_actors.providers.llama_local import LlamaSettings, open_llama_local
from flare_actors.providers.moonshine import MoonshineSettings, open_moonshine
from flare_actors.providers.silero import SileroSettings, SileroVoiceActivity
from flare_actors.providers.weights import Progress, ProgressCallback

__all__ = ["LocalEngines", "check_local", "ensure_weights", "open_local"]


@attrs.frozen(kw_only=True)
class LocalEngines:
    """The four ports of an ``Agent``: ``Agent(**attrs.asdict(engines, recurse=False), instructions=...)``."""

    voice_activity: VoiceActivity
    recognizer: Recognizer
    language_model: LanguageModel
    synthesizer: Synthesizer


@asynccontextmanager
async def open_local(
    *,
    instructions: str = "",
    vad: SileroSettings | None = None,
    stt: MoonshineSettings | None = None,
    llm: LlamaSettings | None = None,
    tts: HibariSettings | None = None,
    progress: ProgressCallback | None = None,
) -> AsyncGenerator[LocalEngines]:
    """Load the embedded engines; the weights that are missing are fetched first.

    Args:
        instructions: the agent's system message; the model reads it now, so that the first answer comes quickly.
        vad: settings of Silero.
        stt: settings of Moonshine.
        llm: settings of llama.cpp; with a ``model`` of its own nothing is fetched for it.
        tts: settings of hibari.
        progress: told, in a worker thread, how far a fetch is.

    Raises:
        ConfigError: an engine is not installed or has no wheel for this platform, or weights cannot be fetched.
    """
    check_local()
    await ensure_weights(
        (each.name for each in MODELS if llm is None or llm.model is None or each.stage != "llm"), progress
    )
    async with AsyncExitStack() as stack:
        model = await stack.enter_async_context(open_llama_local(llm))
        recognizer = await stack.enter_async_context(open_moonshine(stt))
        synthesizer = await stack.enter_async_context(open_hibari(tts))
        voice_activity = SileroVoiceActivity(vad)
        await voice_activity.open()
        await model.prepare(instructions, slots=1)
        yield LocalEngines(
            voice_activity=voice_activity, recognizer=recognizer, language_model=model, synthesizer=synthesizer
        )


async def ensure_weights(names: Iterable[str], progress: ProgressCallback | None = None) -> None:
    """Fetch what is missing of the named models (``weights.ensure``), without blocking the event loop.

    Raises:
        ConfigError: one is not here and cannot be fetched.

    Cancellation: the download stops within a tenth of a second and leaves nothing behind.
    """

    def tell(state: Progress) -> None:
        trio.from_thread.check_cancelled()
        if progress is not None:
            progress(state)

    await trio.to_thread.run_sync(weights.ensure, tuple(names), tell)
