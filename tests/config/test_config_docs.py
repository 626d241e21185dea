from __future__ import annotations

import re
from pathlib import Path

import pytest

from flare_actors.config import Config, load
from flare_actors.config.describe import Table, markdown, tables
from flare_actors.config.load import DEFAULT_WELCOME
from flare_actors.providers import registry

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "configuration.md"


def test_the_page_holds_the_reference_as_the_classes_have_it():
    page = PAGE.read_text(encoding="utf-8")
    _, _, rest = page.partition("<!-- reference: begin")
    generated = rest.partition("-->\n")[2].partition("<!-- reference: end -->")[0]
    assert generated.strip() == markdown().strip(), "run: python .ci/update_docs.py"


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.toml")), ids=lambda path: path.name)
def test_every_example_is_a_right_configuration(example):
    assert isinstance(load(example, catalogue=registry), Config)


@pytest.mark.parametrize("page", [PAGE, ROOT / "README.md"], ids=lambda path: path.name)
def test_every_toml_block_of_the_docs_is_a_right_configuration(page, tmp_path):
    blocks = re.findall(r"```toml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    for number, block in enumerate(blocks):
        file = tmp_path / f"{number}.toml"
        file.write_text(block, encoding="utf-8")
        assert isinstance(load(file, catalogue=registry), Config)


@pytest.mark.parametrize("table", tables(), ids=lambda table: table.header)
def test_every_default_in_the_reference_is_what_may_be_written(table: Table, tmp_path):
    header, _, use = table.header.partition(" ")
    lines = [f"{each.key} = {each.default}" for each in table.settings if each.default]
    file = tmp_path / "agent.toml"
    if header.endswith(".switching]"):  # is refused where there is nobody to switch to
        lines += ["[[providers.llm.fallback]]", 'use = "scripted"']
    file.write_text("\n".join([header, use, *lines]), encoding="utf-8")
    load(file, catalogue=registry)


def test_without_a_file_there_is_a_welcome_and_with_one_only_what_it_says(tmp_path):
    assert load(None, catalogue=registry).conversation.welcome == DEFAULT_WELCOME
    (tmp_path / "agent.toml").write_text("", encoding="utf-8")
    assert load(tmp_path / "agent.toml", catalogue=registry).conversation.welcome is None
