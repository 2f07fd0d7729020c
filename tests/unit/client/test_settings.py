"""Where a client finds its site."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from librarian.connection.address import parse_address
from librarian.connection.settings import find_connection
from librarian.errors import InvalidConfig, InvalidInput, NotFound, TokenMissing, Unavailable


@pytest.mark.parametrize(
    ("text", "target", "secure"),
    [
        ("grpc://127.0.0.1:7700", "127.0.0.1:7700", False),
        ("grpc://localhost:7700/", "localhost:7700", False),
        ("127.0.0.1:7700", "127.0.0.1:7700", False),
        ("[::1]:7700", "[::1]:7700", False),
        ("grpcs://archive.example:443", "archive.example:443", True),
        ("archive.example:443", "archive.example:443", True),
        ("unix:/run/gateway.sock", "unix:/run/gateway.sock", False),
    ],
)
def test_addresses(text: str, target: str, secure: bool) -> None:  # noqa: FBT001
    address = parse_address(text)
    assert (address.target, address.secure) == (target, secure)


@pytest.mark.parametrize("text", ["", "archive", "http://a:1", "grpc://:1", "a:port", "grpcs://a"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(InvalidInput, match="is not an address"):
        parse_address(text)


def test_tokens_do_not_leave_the_machine_in_plain() -> None:
    with pytest.raises(InvalidInput, match="unencrypted"):
        parse_address("grpc://archive.example:80")
    assert not parse_address("grpc://archive.example:80", insecure=True).secure


@pytest.fixture
def user_home(tmp_path: Path) -> Path:
    return tmp_path / "user"


def make_home(home: Path, port: int, token: str = "home-token") -> None:
    home.mkdir(parents=True)
    (home / "admin.token").write_text(token + "\n")
    context = {"address": f"grpc://127.0.0.1:{port}", "token_file": str(home / "admin.token")}
    (home / "context.json").write_text(json.dumps(context))


def make_named(user_home: Path, name: str, text: str) -> None:
    directory = user_home / ".config" / "librarian"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{name}.toml").write_text(text)


def test_the_first_found_wins(user_home: Path, tmp_path: Path) -> None:
    make_named(user_home, "far", 'address = "far.example:1"\ntoken = "far-token"')
    environ: dict[str, str] = {}
    assert find_connection(environ=environ, user_home=user_home).token == "far-token"
    make_home(user_home / ".librarian", 2)
    assert find_connection(environ=environ, user_home=user_home).address.target == "127.0.0.1:2"
    make_home(tmp_path / "lab", 3, "lab-token")
    environ["LIBRARIAN_HOME"] = str(tmp_path / "lab")
    assert find_connection(environ=environ, user_home=user_home).token == "lab-token"
    environ["LIBRARIAN_TOKEN"] = "reader"
    found = find_connection(environ=environ, user_home=user_home)
    assert (found.address.target, found.token) == ("127.0.0.1:3", "reader")
    environ["LIBRARIAN_ADDRESS"] = "127.0.0.1:4"
    assert find_connection(environ=environ, user_home=user_home).address.target == "127.0.0.1:4"
    assert find_connection(site="far", environ=environ, user_home=user_home).token == "far-token"


def test_an_address_never_gets_another_sites_token(user_home: Path) -> None:
    make_home(user_home / ".librarian", 2)
    with pytest.raises(TokenMissing, match="LIBRARIAN_TOKEN"):
        find_connection(environ={"LIBRARIAN_ADDRESS": "127.0.0.1:4"}, user_home=user_home)


def test_nothing_to_connect_to(user_home: Path, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="no site to talk to") as caught:
        find_connection(environ={}, user_home=user_home)
    assert "librarian up" in caught.value.remedy
    with pytest.raises(Unavailable, match="no site was started in"):
        find_connection(environ={"LIBRARIAN_HOME": str(tmp_path / "lab")}, user_home=user_home)


def test_named_connections(user_home: Path) -> None:
    make_named(user_home, "a", 'address = "a.example:1"\ntoken_file = "a.token"\nca_file = "a.pem"')
    (user_home / ".config/librarian/a.token").write_text("from a file\n")
    make_named(user_home, "b", 'address = "grpc://b.example:1"\ntoken = "t"\ninsecure = true')
    found = find_connection(site="a", environ={}, user_home=user_home)
    assert found.token == "from a file"
    assert found.ca_file == user_home / ".config/librarian/a.pem"
    assert "from a file" not in repr(found)
    assert not find_connection(site="b", environ={}, user_home=user_home).address.secure
    with pytest.raises(Unavailable, match="more than one named connection: a, b"):
        find_connection(environ={}, user_home=user_home)
    assert find_connection(environ={"LIBRARIAN_SITE": "b"}, user_home=user_home).token == "t"
    with pytest.raises(NotFound, match="no connection is named c") as caught:
        find_connection(site="c", environ={}, user_home=user_home)
    assert "a, b" in caught.value.remedy


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("address = ", "Invalid value"),
        ('addres = "a:1"', "unknown key addres"),
        ('token = "t"', "`address` is missing"),
    ],
)
def test_wrong_named_connections_name_what_is_wrong(user_home: Path, text: str, told: str) -> None:
    make_named(user_home, "a", text)
    with pytest.raises(InvalidConfig, match=told):
        find_connection(site="a", environ={}, user_home=user_home)
    make_named(user_home, "a", 'address = "a:1"')
    with pytest.raises(TokenMissing, match=r"a\.toml"):
        find_connection(site="a", environ={}, user_home=user_home)


def test_a_broken_home_is_told(user_home: Path, tmp_path: Path) -> None:
    make_home(tmp_path / "lab", 3)
    (tmp_path / "lab/context.json").write_text("{}")
    with pytest.raises(InvalidConfig, match=r"context\.json"):
        find_connection(environ={"LIBRARIAN_HOME": str(tmp_path / "lab")}, user_home=user_home)
