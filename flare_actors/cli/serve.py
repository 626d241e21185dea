"""``flare-actors serve``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from flare_actors.cli.common import API_KEY_VARIABLE, FetchBar, config_option, log_options, read_config, set_logs_up

if TYPE_CHECKING:
    import ssl

    from flare_actors.config import Config, Secret, ServerSection

__all__ = ["serve"]


@click.command(short_help="Serve conversations: a page for your browser, a WebSocket for programs.")
@config_option
@click.option("--host", help="Address to listen on. [default: 127.0.0.1, this machine only]")
@click.option("--port", type=click.IntRange(0, 65_535), help="Port; 0 takes any free one. [default: 8765]")
@click.option("--api-key-env", metavar="NAME", help="The variable that holds the key which clients must show.")
@click.option("--api-key-file", metavar="FILE", help="The file that holds that key.")
@click.option("--insecure-no-auth", is_flag=True, default=None, help="Let everybody talk who can reach --host.")
@click.option("--tls-cert", metavar="FILE", help="Certificate chain in PEM: then it serves https.")
@click.option("--tls-key", metavar="FILE", help="The certificate's private key in PEM.")
@click.option(
    "--tls-self-signed", is_flag=True, default=None, help="Make a certificate up: a phone's microphone needs https."
)
@click.option("--allow-origin", multiple=True, metavar="URL", help="A foreign page that may connect. Can be repeated.")
@click.option("--allow-host", multiple=True, metavar="NAME", help="A further name of this server. Can be repeated.")
@click.option("--max-sessions", type=int, help="Sessions at once; one more is told that it is busy. [default: 32]")
@click.option("--drain-s", type=float, help="Seconds that turns may take to finish on SIGTERM. [default: 10]")
@log_options
def serve(
    config_file: Path | None,
    host: str | None,
    port: int | None,
    api_key_env: str | None,
    api_key_file: str | None,
    insecure_no_auth: bool | None,
    tls_cert: str | None,
    tls_key: str | None,
    tls_self_signed: bool | None,
    allow_origin: tuple[str, ...],
    allow_host: tuple[str, ...],
    max_sessions: int | None,
    drain_s: float | None,
    log_format: str | None,
    log_level: str | None,
    log_speech: bool | None,
) -> None:
    """Serve conversations until you press Ctrl-C.

    Prints one URL when it is ready: open it, press Start, speak. Without a configuration file everything runs on this
    machine; the first start fetches the language model (93 MB) into your cache, later ones need no network.

    \b
    flare-actors serve
    flare-actors serve --config agent.toml --port 9000
    flare-actors serve --host 0.0.0.0 --tls-self-signed --api-key-file key.txt    # for your phone

    The first Ctrl-C (or SIGTERM) lets turns finish, the second one stops at once.
    """  # noqa: D301 # click reads \b as "do not wrap"
    import trio

    config = read_config(
        config_file,
        {
            "server.host": ("--host", host),
            "server.port": ("--port", port),
            "server.api_key_env": ("--api-key-env", api_key_env),
            "server.api_key_file": ("--api-key-file", _here(api_key_file)),
            "server.insecure_no_auth": ("--insecure-no-auth", insecure_no_auth),
            "server.tls_cert": ("--tls-cert", _here(tls_cert)),
            "server.tls_key": ("--tls-key", _here(tls_key)),
            "server.tls_self_signed": ("--tls-self-signed", tls_self_signed),
            "server.allowed_origins": ("--allow-origin", allow_origin),
            "server.allowed_hosts": ("--allow-host", allow_host),
            "server.limits.max_sessions": ("--max-sessions", max_sessions),
            "server.limits.drain_s": ("--drain-s", drain_s),
            "logs.format": ("--log-format", log_format),
            "logs.level": ("--log-level", log_level),
            "logs.speech": ("--log-speech", log_speech),
        },
    )
    keys = _api_keys(config.server, where=str(config_file or "serve"))
    set_logs_up(config, secrets=keys)
    trio.run(_serve, config, keys)


def _here(path: str | None) -> str | None:
    """Make a path of the command line absolute: those of the file are relative to the file."""
    return None if path is None else str(Path(path).expanduser().absolute())


def _api_keys(server: ServerSection, *, where: str) -> tuple[Secret, ...]:
    import os

    from flare_actors.config import secret_from_environment, secret_from_file
    from flare_actors.errors import ConfigError

    if server.api_key_env is not None and server.api_key_file is not None:
        raise ConfigError(f"{where}: [server] api_key_env and api_key_file: say one of them, not both")
    if server.api_key_file is not None:
        return (secret_from_file(server.api_key_file, where=f"{where}: [server] api_key_file"),)
    if server.api_key_env is not None:
        return (secret_from_environment(server.api_key_env, where=f"{where}: [server] api_key_env"),)
    if os.environ.get(API_KEY_VARIABLE):
        return (secret_from_environment(API_KEY_VARIABLE, where="serve"),)
    return ()


def _tls(server: ServerSection) -> ssl.SSLContext | None:
    from flare_actors.errors import ConfigError
    from flare_actors.server import self_signed_context, tls_context

    if server.tls_self_signed:
        if server.tls_cert is not None:
            raise ConfigError("[server] tls_cert and tls_self_signed: say one of them, not both")
        return self_signed_context(server.allowed_hosts)
    if server.tls_cert is not None:
        return tls_context(server.tls_cert, server.tls_key)
    if server.tls_key is not None:
        raise ConfigError("[server] tls_key needs tls_cert, the certificate that it belongs to")
    return None


async def _serve(config: Config, keys: tuple[Secret, ...]) -> None:
    import structlog
    import trio

    from flare_actors.config.agent import open_agent
    from flare_actors.garbage import calm_garbage_collection
    from flare_actors.logs import LogObserver
    from flare_actors.server import Server
    from flare_actors.server import serve as run_server
    from flare_actors.server.access import check_exposure
    from flare_actors.server.serve import check_address

    started = trio.current_time()
    server = config.server
    revealed = [key.reveal() for key in keys]
    # What cannot be served is said before anything is fetched or loaded.
    check_exposure(server.host, api_keys=revealed, insecure_no_auth=server.insecure_no_auth)
    tls = _tls(server)
    await check_address(server.host, server.port)
    brain = config.providers["llm"]
    demo_brain = brain.use == "local" and getattr(brain.settings, "model", None) is None
    log = structlog.get_logger()
    engines = {stage: str(choice) for stage, choice in config.providers.items()}
    log.info("loading", **engines)
    with FetchBar() as bar:
        async with open_agent(config, progress=bar) as agent, trio.open_nursery() as nursery:

            async def run(task_status: trio.TaskStatus[Server]) -> None:
                await run_server(
                    agent,
                    host=server.host,
                    port=server.port,
                    limits=server.limits,
                    api_keys=revealed,
                    insecure_no_auth=server.insecure_no_auth,
                    allowed_origins=server.allowed_origins,
                    allowed_hosts=server.allowed_hosts,
                    ssl_context=tls,
                    observers=[LogObserver()],
                    health_facts={"demo_brain": demo_brain},
                    handle_signals=True,
                    task_status=task_status,
                )

            running = await nursery.start(run)
            calm_garbage_collection()
            log.info("ready", seconds=round(trio.current_time() - started, 2), **engines)
            if demo_brain:
                click.echo(
                    "The language model is a demo brain; docs/providers.md shows how to use a better one.", err=True
                )
            for url in running.network_urls:
                click.echo(f"From other machines of your network: {url}", err=True)
            click.echo(running.url)
