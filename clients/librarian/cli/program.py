"""The program: which commands there are, and what becomes of what they raise."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import typer

from librarian.cli import (
    config_check,
    demo,
    doctor,
    explain,
    find,
    get,
    history,
    ls,
    peer_invite,
    peer_join,
    peer_ls,
    peer_pause,
    peer_resume,
    peer_rm,
    peer_rotate_key,
    peer_set,
    put,
    register,
    route_add,
    route_ls,
    route_pause,
    route_resume,
    route_rm,
    route_set,
    show,
    status,
    store_add,
    store_drain,
    store_ls,
    store_scan,
    store_set,
    token_issue,
    token_ls,
    token_revoke,
    transfer_cancel,
    transfer_ls,
    transfer_prioritize,
    transfer_retry,
    transfer_show,
    transfer_watch,
    up,
    verify,
)
from librarian.cli.exits import ExitCode, as_our_error, error_text, exit_code_of
from librarian.errors import InvalidInput, LibrarianError

HELP = "Keeps precious data: every byte verified, every copy known."
TRACEBACK_VARIABLE = "TRACEBACK"
EPILOG = (
    "Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 found corrupt or missing, 4 unreachable, "
    "130 interrupted (the same command goes on)."
)


def build() -> typer.Typer:
    app = _group(HELP, epilog=EPILOG)
    app.command("up", context_settings={"ignore_unknown_options": True})(up.command)
    app.command("demo")(demo.command)
    for module in (status, doctor, put, get, ls, find, show, history, explain, verify, register):
        app.command(module.__name__.rpartition(".")[2])(module.command)
    store = _group("The places where bytes are.")
    store.command("add")(store_add.command)
    store.command("ls")(store_ls.command)
    store.command("set")(store_set.command)
    store.command("drain")(store_drain.command)
    store.command("scan")(store_scan.command)
    app.add_typer(store, name="store")
    peer = _group("Other sites.")
    peer.command("invite")(peer_invite.command)
    peer.command("join")(peer_join.command)
    peer.command("ls")(peer_ls.command)
    peer.command("set")(peer_set.command)
    peer.command("pause")(peer_pause.command)
    peer.command("resume")(peer_resume.command)
    peer.command("rm")(peer_rm.command)
    peer.command("rotate-key")(peer_rotate_key.command)
    app.add_typer(peer, name="peer")
    route = _group("Where datasets go by themselves.")
    route.command("add")(route_add.command)
    route.command("ls")(route_ls.command)
    route.command("set")(route_set.command)
    route.command("pause")(route_pause.command)
    route.command("resume")(route_resume.command)
    route.command("rm")(route_rm.command)
    app.add_typer(route, name="route")
    transfer = _group("Datasets on their way.")
    transfer.command("ls")(transfer_ls.command)
    transfer.command("show")(transfer_show.command)
    transfer.command("watch")(transfer_watch.command)
    transfer.command("retry")(transfer_retry.command)
    transfer.command("cancel")(transfer_cancel.command)
    transfer.command("prioritize")(transfer_prioritize.command)
    app.add_typer(transfer, name="transfer")
    token = _group("Who may use the site.")
    token.command("issue")(token_issue.command)
    token.command("ls")(token_ls.command)
    token.command("revoke")(token_revoke.command)
    app.add_typer(token, name="token")
    config = _group("Settings of this client and of servers.")
    config.command("check")(config_check.command)
    app.add_typer(config, name="config")
    return app


def _group(text: str, *, epilog: str | None = None) -> typer.Typer:
    return typer.Typer(
        help=text,
        epilog=epilog,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )


def run_program(arguments: Sequence[str]) -> int:
    """The exit code. Everything that goes wrong is told here, on stderr."""
    as_json = "--json" in arguments
    try:
        code = build()(args=list(arguments), prog_name="librarian", standalone_mode=False)
    except typer.TyperException as error:
        return _usage(error, as_json=as_json)
    except (typer.Abort, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    except Exception as error:
        if not isinstance(error, LibrarianError | OSError) and os.environ.get(TRACEBACK_VARIABLE):
            raise
        failure = as_our_error(error)
        print(error_text(failure, as_json=as_json), file=sys.stderr)  # noqa: T201
        return exit_code_of(failure)
    return code if isinstance(code, int) else ExitCode.DONE


def _usage(error: typer.TyperException, *, as_json: bool) -> int:
    show = getattr(error, "show", None)
    if as_json:
        failure = InvalidInput(error.format_message(), remedy="librarian COMMAND --help tells the usage")
        failure.metadata["reason"] = "WRONG_USAGE"
        print(error_text(failure, as_json=True), file=sys.stderr)  # noqa: T201
    elif show is not None:
        show()
    else:
        print(f"error: {error.format_message()}", file=sys.stderr)  # noqa: T201
    return error.exit_code
