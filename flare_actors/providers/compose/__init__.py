"""Providers made of providers: timeouts, retries, fallbacks and hedges, as ports over ports.

settings    how long, how often, and when another one takes over
make        the makers
breaker     who is broken, and when to find out whether it still is
candidates  who is asked in which order
relay       streams made in a task of their own; sources that can be read again
llm stt tts what changing in the middle means for each stage
"""

from flare_actors.providers.compose.make import fallback, hedge, with_retries, with_timeouts
from flare_actors.providers.compose.settings import Attempts, Switching

__all__ = ["Attempts", "Switching", "fallback", "hedge", "with_retries", "with_timeouts"]
