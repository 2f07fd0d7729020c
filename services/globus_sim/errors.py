"""What goes wrong, as the services say it."""

from __future__ import annotations

from typing import Any


class TransferError(Exception):
    """An answer of Transfer's: `{code, message, request_id, resource}` and what else a code brings."""

    def __init__(self, status: int, code: str, message: str, **more: Any) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.more = more


class AuthError(Exception):
    """An answer of Auth's token endpoint, as OAuth2 has it."""

    def __init__(self, status: int, error: str, description: str = "") -> None:
        super().__init__(description or error)
        self.status = status
        self.error = error
        self.description = description


class Fault(Exception):
    """Something that a task meets and tries again: `code` becomes its nice_status. `fatal`: it ends by it."""

    def __init__(self, code: str, details: str, *, fatal: bool = False) -> None:
        super().__init__(details)
        self.code = code
        self.details = details
        self.fatal = fatal


def not_authenticated(message: str = "Token is not active") -> TransferError:
    return TransferError(401, "ClientError.AuthenticationFailed", message)


def not_found(what: str) -> TransferError:
    return TransferError(404, "ClientError.NotFound", what)


def bad_request(message: str, code: str = "ClientError.BadRequest") -> TransferError:
    return TransferError(400, code, message)
