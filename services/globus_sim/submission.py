"""A submission as it came, judged: what it asks for, or why it cannot be. Pure."""

from __future__ import annotations

from typing import Any

from globus_sim.clock import heard
from globus_sim.errors import TransferError, bad_request
from globus_sim.model import Task

DAY = 86_400.0
MOST_ITEMS = 100_000
_OPTIONS = {
    "verify_checksum": bool,
    "preserve_timestamp": bool,
    "encrypt_data": bool,
    "skip_source_errors": bool,
    "fail_on_quota_errors": bool,
    "delete_destination_extra": bool,
    "notify_on_succeeded": bool,
    "notify_on_failed": bool,
    "notify_on_inactive": bool,
    "ignore_missing": bool,
    "interpret_globs": bool,
    "recursive": bool,
    "store_base_path_info": bool,
    "recursive_symlinks": str,
    "sync_level": int,
    "filter_rules": list,
}
# Refused rather than taken and not done.
_NOT_SIMULATED = ("sync_level", "filter_rules", "delete_destination_extra", "recursive_symlinks")
_KNOWN = {
    *_OPTIONS,
    "DATA_TYPE",
    "DATA",
    "submission_id",
    "label",
    "deadline",
    "source_local_user",
    "skip_activation_check",
}
_KNOWN |= {
    "source_endpoint",
    "destination_endpoint",
    "endpoint",
    "destination_local_user",
    "additional_fields",
}


def judged(kind: str, body: Any, *, task_id: str, owner: str, now: float) -> Task:
    """Raises TransferError. `kind`: TRANSFER or DELETE."""
    if not isinstance(body, dict) or body.get("DATA_TYPE") != kind.lower():
        raise bad_request(f"a document of DATA_TYPE {kind.lower()!r} is wanted")
    for name in body:
        if name not in _KNOWN:
            raise bad_request(f"Unknown field {name!r}", "BadRequest")
    options = _options(body)
    label = body.get("label")
    if label is not None and (not isinstance(label, str) or len(label) > 128 or "\n" in label):
        raise bad_request("label is to be one line of at most 128 characters", "BadRequest")
    deadline, explicit = _deadline(body, now)
    transfer = kind == "TRANSFER"
    return Task(
        task_id=task_id,
        kind=kind,
        owner=owner,
        submission_id=str(body.get("submission_id", "")),
        source=_endpoint(body, "source_endpoint" if transfer else "endpoint"),
        destination=_endpoint(body, "destination_endpoint") if transfer else "",
        label=label,
        items=_items(kind, body.get("DATA")),
        options=options,
        request_time=now,
        deadline=deadline,
        explicit_deadline=explicit,
    )


def _options(body: dict[str, Any]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for name, form in _OPTIONS.items():
        if name in body:
            if not isinstance(body[name], form):
                raise bad_request(f"{name} is to be a {form.__name__}", "BadRequest")
            options[name] = body[name]
    for name in _NOT_SIMULATED:
        if options.get(name) not in (None, False, [], "ignore"):
            raise bad_request(f"{name} is not simulated", "BadRequest")
    return options


def _deadline(body: dict[str, Any], now: float) -> tuple[float, bool]:
    """And whether it was asked for."""
    if body.get("deadline") is None:
        return now + DAY, False
    try:
        deadline = heard(str(body["deadline"]))
    except ValueError as error:
        raise bad_request(f"deadline: {error}", "BadRequest") from error
    if deadline <= now:
        raise bad_request("deadline is over already", "BadRequest")
    return deadline, True


def same_paths(one: Task, other: Task) -> bool:
    """Whether both write to one place: the second is refused while the first is not over."""
    if (one.kind, one.source, one.destination) != (other.kind, other.source, other.destination):
        return False
    return _paths(one) == _paths(other)


def _paths(task: Task) -> list[tuple[str, str]]:
    return sorted(
        (item.get("source_path", ""), item.get("destination_path", item.get("path", "")))
        for item in task.items
    )


def _endpoint(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise bad_request(f"{name} is missing", "BadRequest")
    return value


def _items(kind: str, data: Any) -> list[dict[str, Any]]:
    if not isinstance(data, list) or not data:
        what = kind.capitalize()
        raise bad_request(
            f"A {what.lower()} requires at least one item", f"ClientError.BadRequest.No{what}Items"
        )
    if len(data) > MOST_ITEMS:
        raise TransferError(400, "ClientError.BadRequest.TooManyItems", f"at most {MOST_ITEMS} items")
    wanted = ("source_path", "destination_path") if kind == "TRANSFER" else ("path",)
    for item in data:
        if not isinstance(item, dict) or any(not isinstance(item.get(name), str) for name in wanted):
            raise bad_request(f"an item needs {' and '.join(wanted)}", "BadRequest")
        if item.get("external_checksum") and item.get("recursive"):
            raise bad_request("external_checksum is for files only", "BadRequest")
    return data
