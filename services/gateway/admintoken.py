"""The first token: without it nobody could issue another. There is no default password."""

from __future__ import annotations

import asyncio
import os
import secrets
from pathlib import Path

from gateway.authentication import Authentication
from gateway.files import replace_file
from gateway.tokendesk import TokenDesk
from gateway.tokens import SECRET_BYTES, secret_of
from librarian.errors import InvalidConfig, Unauthenticated
from svckit.auth import Role
from svckit.telemetry import Logger

SUBJECT = "admin"
_MAX_BYTES = 1024


async def ensure_admin_token(
    path: Path, desk: TokenDesk, authentication: Authentication, logger: Logger
) -> None:
    """Where `path` holds a good token of an admin nothing happens; else it gets a new one, in a file that
    only its owner can read. Who lost the token removes the file and restarts the gateway.

    The file is whole before the token is good, so a crash in between leaves a file that the next start
    replaces. Raises InvalidConfig where the file cannot be read or written.
    """
    try:
        secret = await asyncio.to_thread(_read, path)
        if secret and await _is_good(secret, authentication):
            return
        secret = secret_of(secrets.token_bytes(SECRET_BYTES))
        await asyncio.to_thread(replace_file, path, f"{secret}\n", mode=0o600)
    except OSError as error:
        raise InvalidConfig(
            f"config: gateway.admin_token_file {path}: {error.strerror}",
            remedy="name a file in a directory that the gateway may write to",
            key="gateway.admin_token_file",
        ) from error
    token = await desk.add_admin(SUBJECT, secret)
    logger.warning("admin_token_made", token_id=token.token_id, file=str(path))


async def _is_good(secret: str, authentication: Authentication) -> bool:
    try:
        caller = await authentication({"authorization": f"Bearer {secret}"}, "")
    except Unauthenticated:
        return False
    return caller.role is Role.ADMIN


def _read(path: Path) -> str:
    """An empty text where there is no file. One that others can read is closed to them."""
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                os.fchmod(file.fileno(), 0o600)
            return file.read(_MAX_BYTES).decode("utf-8", "replace").strip()
    except FileNotFoundError:
        return ""
