from __future__ import annotations

import json
import re
from pathlib import Path

import attrs
import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_shapes import FROM_CLIENT, FROM_SERVER, JSON

from flare_actors.conversation.states import Reason, State
from flare_actors.errors import ClientError
from flare_actors.wire import flare, schema
from flare_actors.wire.flare_client_messages import CLIENT_MESSAGES
from flare_actors.wire.flare_server_messages import SERVER_MESSAGES

SCHEMA = schema.json_schema()
PAGE = Path(__file__).parents[2] / "docs" / "protocol.md"


def _validator(side: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator({**SCHEMA, "anyOf": [{"$ref": f"#/$defs/{side}"}]})


CLIENT = _validator("client")
SERVER = _validator("server")


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA


@given(FROM_CLIENT)
def test_the_schema_takes_what_a_client_sends(message: flare.FromClient) -> None:
    encoded = flare.encode_client(message)
    if isinstance(encoded, str):
        CLIENT.validate(json.loads(encoded))


@given(FROM_SERVER)
def test_the_schema_takes_what_a_server_sends(message: flare.FromServer) -> None:
    encoded = flare.encode_server(message)
    if isinstance(encoded, str):
        SERVER.validate(json.loads(encoded))


@given(st.sampled_from(sorted(CLIENT_MESSAGES)), st.data())
def test_the_schema_and_the_codec_refuse_the_same(name: str, data: st.DataObject) -> None:
    body: dict[str, object] = {"type": name}
    for field in attrs.fields(CLIENT_MESSAGES[name]):
        if data.draw(st.booleans()):
            # JSON Schema calls 1.0 an integer and an inexpressible number a number; the codec is stricter there.
            body[field.name] = data.draw(JSON.filter(lambda value: not isinstance(value, float)))
    if data.draw(st.integers(0, 9)) == 0:
        body["surplus"] = 1
    try:
        flare.decode_client(json.dumps(body))
    except ClientError:
        assert not CLIENT.is_valid(body)
    else:
        assert CLIENT.is_valid(body)


@pytest.mark.parametrize(("side", "known"), [("client", CLIENT_MESSAGES), ("server", SERVER_MESSAGES)])
def test_the_page_has_the_tables_that_the_classes_make(side: str, known: dict[str, type]) -> None:
    block = re.compile(rf"<!-- {side}: begin [^\n]*-->\n(.*?)<!-- {side}: end -->", re.DOTALL)
    tables = f"\n{schema.tables(side).strip()}\n\n"
    found = block.search(PAGE.read_text(encoding="utf-8"))
    assert found, f"docs/protocol.md has no block for what the {side} sends"
    assert found[1] == tables, "run `python .ci/update_docs.py`"
    assert all(f"#### `{name}`" in found[1] for name in known)


def test_the_page_lists_every_state_and_every_reason() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert schema.choices(State) in page
    for reason in Reason:
        assert f"| `{reason.value}` |" in page
