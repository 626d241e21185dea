"""Agents as people write them down: a TOML file, ``FLARE_ACTORS_...`` variables and flags, checked before anything runs."""

from flare_actors.config.load import Catalogue, Flag, dump, load
from flare_actors.config.model import AgentSection, Config, LogsSection, ProviderChoice, ServerSection
from flare_actors.config.secret import REDACTED, Secret, looks_secret, secret_from_environment, secret_from_file

__all__ = [
    "REDACTED",
    "AgentSection",
    "Catalogue",
    "Config",
    "Flag",
    "LogsSection",
    "ProviderChoice",
    "Secret",
    "ServerSection",
    "dump",
    "load",
    "looks_secret",
    "secret_from_environment",
    "secret_from_file",
]
