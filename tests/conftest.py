"""What every test may ask for: a PostgreSQL, a fresh database, and randomness that can be repeated."""

from __future__ import annotations

import os
import random
import secrets
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

# Test folders are not packages; helpers are imported as `support.…`.
sys.path.insert(0, str(Path(__file__).parent))

from support.postgres import PostgresServer, any_postgres

# Without our prefix: the settings refuse variables of ours that they do not know.
SEED_VARIABLE = "TEST_SEED"
# Of modules that start whole sites, or kill what they have started, again and again.
_LONG = ("crash", "tests/e2e/", "test_compose_site")


def pytest_configure() -> None:
    # A run in the background of a script inherits that Ctrl-C is ignored; what the tests start must not.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # A traceback with all local variables takes a second each time, and buries what was said.
    plain = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*structlog.get_config()["processors"][:-1], plain])
    # Set before workers are started, so that all of them have the same.
    os.environ.setdefault(SEED_VARIABLE, str(secrets.randbelow(2**32)))


def pytest_report_header() -> str:
    return f"seed: {SEED_VARIABLE}={os.environ[SEED_VARIABLE]}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest modules first: one that is begun last is waited for by all other workers."""
    items.sort(key=lambda item: not any(part in item.nodeid for part in _LONG))


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    """Randomness of this test alone: of the run's seed, which is printed, and the test's name."""
    seed = f"{os.environ[SEED_VARIABLE]}:{request.node.nodeid}"
    print(f"rng seed: {seed}")
    return random.Random(seed)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """LIBRARIAN_TEST_DSN, else a container, else the embedded server; with xdist one for each worker."""
    with any_postgres() as server:
        yield server


@pytest.fixture
def database_dsn(postgres: PostgresServer) -> Iterator[str]:
    """postgresql://… of an empty database of this test's own, by its administrator; dropped afterwards."""
    with postgres.fresh_database() as dsn:
        yield dsn
