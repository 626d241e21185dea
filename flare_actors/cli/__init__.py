"""The ``flare-actors`` command. Each subcommand is a module; what is heavy is imported when a command runs."""

from flare_actors.cli.main import main

__all__ = ["main"]
