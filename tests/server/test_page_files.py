from __future__ import annotations

import h11
import pytest

from flare_actors.server.http import Request
from flare_actors.server.pages import Health, answer

HEALTH = Health(status="ok", sessions=0, connections=0, auth_required=False)


@pytest.fixture
def web(tmp_path):
    """A folder of pages, with secrets of a type that is served around it and in it."""
    web = tmp_path / "web"
    (web / "sub").mkdir(parents=True)
    for path in ("secret.txt", "web/.secret.txt", "web/index.html", "web/page.txt", "web/sub/page.txt", "web/no-type"):
        (tmp_path / path).write_text(path)
    (web / "folder.txt").mkdir()
    return web


def get(path: str, web, method: str = "GET"):
    connection = h11.Connection(h11.SERVER)
    request = Request(
        method=method, path=path, query="", headers=(), raw=b"", has_body=False, followed=False, connection=connection
    )
    return answer(request, health=HEALTH, root=web)


@pytest.mark.parametrize(
    ("path", "found"),
    [("/", "web/index.html"), ("/page.txt", "web/page.txt"), ("/sub/page.txt", "web/sub/page.txt")],
)
def test_what_is_in_the_folder_is_served(path: str, found: str, web) -> None:
    response = get(path, web)
    assert (response.status, response.body) == (200, found.encode())


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/sub/../../secret.txt",
        "/./page.txt",
        "/.secret.txt",
        "//page.txt",
        "/sub//page.txt",
        "/sub\\page.txt",
        "/..\\secret.txt",
        "/%2e%2e/secret.txt",
        "/page.txt\0",
        "/folder.txt",
        "/sub",
        "/no-type",
        "page.txt/../../secret.txt",
    ],
)
def test_what_is_not_plainly_in_the_folder_is_not_served(path: str, web) -> None:
    assert get(path, web).status == 404


def test_an_absolute_path_is_not_one(web) -> None:
    assert get(f"/{web.parent}/secret.txt", web).status == 404
