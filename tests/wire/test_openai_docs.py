from __future__ import annotations

from pathlib import Path

from flare_actors.wire.openai_realtime import docs

PAGE = Path(__file__).parents[2] / "docs" / "openai-realtime.md"


def test_the_page_has_every_event_and_field() -> None:
    assert docs.tables() in PAGE.read_text(encoding="utf-8"), "run .ci/update_docs.py"
