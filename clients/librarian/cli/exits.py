"""Exit codes that scripts can trust, and errors as people and programs read them."""

from __future__ import annotations

import json
from enum import IntEnum

from librarian.errors import (
    DataLoss,
    DeadlineExceeded,
    InternalError,
    LibrarianError,
    SourceVanished,
    Unavailable,
)


class ExitCode(IntEnum):
    DONE = 0
    # Refused or failed.
    FAILED = 1
    WRONG_USAGE = 2
    # A copy is corrupt or missing.
    DATA_LOSS = 3
    UNREACHABLE = 4
    # By Ctrl-C; the same command goes on.
    INTERRUPTED = 130


def exit_code_of(error: LibrarianError) -> ExitCode:
    if isinstance(error, DataLoss | SourceVanished):
        return ExitCode.DATA_LOSS
    if isinstance(error, Unavailable | DeadlineExceeded):
        return ExitCode.UNREACHABLE
    return ExitCode.FAILED


def as_our_error(error: Exception) -> LibrarianError:
    """Anything that ends a command, as an error with a reason."""
    if isinstance(error, LibrarianError):
        return error
    if isinstance(error, OSError):
        failure = LibrarianError(f"{error.filename or 'this machine'}: {error.strerror or error}")
        failure.metadata["reason"] = "LOCAL_FILE"
        return failure
    remedy = "a bug: please report it with what the same command shows with TRACEBACK=1 before it"
    return InternalError(f"{type(error).__name__}: {error}", remedy=remedy)


def error_value(error: LibrarianError) -> dict[str, object]:
    """As `--json` tells it. A reason newer than this program is in the metadata, and stands for the class."""
    metadata = dict(error.metadata)
    reason = metadata.pop("reason", error.reason)
    return {"reason": reason, "message": error.message, "remedy": error.remedy, "metadata": metadata}


def error_text(error: LibrarianError, *, as_json: bool) -> str:
    if as_json:
        return json.dumps(error_value(error), ensure_ascii=False)
    text = f"error: {error.message}"
    return f"{text}\n  what to do: {error.remedy}" if error.remedy else text
