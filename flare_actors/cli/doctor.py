"""``flare-actors doctor``: does every configured provider work?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from flare_actors.cli.common import config_option, log_options, read_config, set_logs_up

if TYPE_CHECKING:
    from flare_actors.config import Config
    from flare_actors.config.doctor import Finding

__all__ = ["doctor"]


@click.command(short_help="Ask every configured engine one small thing, and say what to fix.")
@config_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of lines for people.")
@click.option(
    "--timeout-s",
    type=click.FloatRange(0, min_open=True),
    default=20.0,
    show_default=True,
    help="Seconds that each may take to load, and then to answer.",
)
@log_options
def doctor(
    config_file: Path | None,
    as_json: bool,
    timeout_s: float,
    log_format: str | None,
    log_level: str | None,
    log_speech: bool | None,
) -> int:
    """Ask every configured engine one small thing, for real: is it reachable, does it take the key, how long does it take?

    Fallbacks are asked, too. A paid service is asked for a few words. Nothing is fetched: models that are missing are named.
    The exit code is 0 if all work, 1 if one does not, 2 if the configuration is wrong.
    """
    import trio

    config = read_config(
        config_file,
        {
            "logs.format": ("--log-format", log_format),
            "logs.level": ("--log-level", log_level),
            "logs.speech": ("--log-speech", log_speech),
        },
    )
    set_logs_up(config, level=log_level or "warning")
    return trio.run(_doctor, config, as_json, timeout_s)


async def _doctor(config: Config, as_json: bool, timeout_s: float) -> int:
    import json
    from contextlib import aclosing

    import attrs

    from flare_actors.config.doctor import examine

    findings: list[Finding] = []
    async with aclosing(examine(config, patience_s=timeout_s)) as found:
        async for finding in found:
            findings.append(finding)
            if not as_json:
                _tell(finding)
    works = all(finding.works for finding in findings)
    if as_json:
        click.echo(json.dumps({"works": works, "providers": [attrs.asdict(each) for each in findings]}, indent=2))
    return 0 if works else 1


def _tell(finding: Finding) -> None:
    verdict = "works" if finding.works else "FAILS"
    head = f"{finding.stage:<4} {finding.use:<12} {verdict:<6}"
    first = {"tts": "first audio", "stt": "final transcript", "llm": "first token"}.get(finding.stage)
    times = [
        f"{what} {seconds:.2f} s"
        for what, seconds in (
            ("loaded in", finding.open_s),
            ("connected in", finding.connect_s),
            (f"{first} in", finding.first_s if first else None),
        )
        if seconds is not None
    ]
    if finding.works:
        click.echo(f"{head} {'; '.join([*times, finding.message])}")
    else:
        click.echo(f"{head} {finding.where}: {finding.message}")
    if finding.fix:
        click.echo(f"{'':<24} fix: {finding.fix}")
