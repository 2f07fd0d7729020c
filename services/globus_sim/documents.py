"""Documents as Transfer writes them. Pure."""

from __future__ import annotations

from typing import Any

from globus_sim.clock import told
from globus_sim.model import OK, QUEUED, SUCCEEDED, Collection, Event, File, Task

_NICE = {OK: "OK", QUEUED: "queued"}
_DEFAULTS: dict[str, Any] = {
    "verify_checksum": True,
    "preserve_timestamp": False,
    "encrypt_data": False,
    "skip_source_errors": False,
    "fail_on_quota_errors": False,
    "delete_destination_extra": False,
    "recursive_symlinks": "ignore",
    "sync_level": None,
    "filter_rules": None,
}


def task_document(task: Task, collections: dict[str, Collection], now: float) -> dict[str, Any]:
    files = task.files
    done, skipped = task.count("done"), task.count("skipped")
    over = task.is_over
    pending = 0 if over else len(files) - done - skipped
    seconds = max((task.completion_time or now) - task.request_time, 0.001)
    fatal = {"code": task.fatal_code, "description": task.fatal_description} if task.fatal_code else None
    nice = None if over else task.nice_status
    return {
        "DATA_TYPE": "task",
        "task_id": task.task_id,
        "type": task.kind,
        "status": task.status,
        "fatal_error": fatal,
        "label": task.label,
        "owner_id": task.owner,
        "username": f"u_{task.owner.replace('-', '')[:26]}",
        "request_time": told(task.request_time),
        "completion_time": told(task.completion_time),
        "deadline": told(task.deadline),
        "command": "API 0.10",
        **_endpoint("source", task.source, collections),
        **_endpoint("destination", task.destination, collections),
        "directories": task.directories,
        "files": len(files),
        "files_skipped": skipped,
        "files_transferred": done,
        "symlinks": 0,
        "bytes_transferred": task.bytes_transferred,
        "bytes_checksummed": task.bytes_checksummed,
        "effective_bytes_per_second": int(task.bytes_transferred / seconds),
        "faults": task.faults,
        "subtasks_total": len(files) + 1,
        "subtasks_pending": pending,
        "subtasks_retrying": 1 if pending and task.faults else 0,
        "subtasks_succeeded": done + (task.status == SUCCEEDED),
        "subtasks_expired": len(files) - done - skipped if task.fatal_code == "EXPIRED" else 0,
        "subtasks_canceled": len(files) - done - skipped if task.fatal_code == "CANCELED" else 0,
        "subtasks_failed": len(files) - done - skipped if over and task.fatal_code not in _NOT_FAILED else 0,
        "subtasks_skipped_errors": skipped,
        "nice_status": nice,
        "nice_status_short_description": _NICE.get(nice, nice.lower().replace("_", " ")) if nice else None,
        "nice_status_details": None if over else task.nice_details,
        "nice_status_expires_in": None if over else -1,
        "is_ok": None if over else nice in (OK, QUEUED),
        "is_paused": bool(task.paused) and not over,
        "canceled_by_admin": task.canceled_by_admin or None,
        "canceled_by_admin_message": None,
        "history_deleted": task.history_deleted,
        **{name: task.options.get(name, default) for name, default in _DEFAULTS.items()},
    }


_NOT_FAILED = {"", "EXPIRED", "CANCELED"}


def _endpoint(side: str, collection_id: str, collections: dict[str, Collection]) -> dict[str, Any]:
    found = collections.get(collection_id)
    return {
        f"{side}_endpoint": found.name if found else None,
        f"{side}_endpoint_id": collection_id or None,
        f"{side}_endpoint_display_name": found.name if found else None,
    }


def task_list(tasks: list[dict[str, Any]], total: int, limit: int, offset: int) -> dict[str, Any]:
    return {
        "DATA_TYPE": "task_list",
        "DATA": tasks,
        "length": len(tasks),
        "limit": limit,
        "offset": offset,
        "total": total,
    }


def event_document(event: Event) -> dict[str, Any]:
    return {
        "DATA_TYPE": "event",
        "code": event.code,
        "description": event.description,
        "details": event.details,
        "is_error": event.is_error,
        "time": told(event.time),
    }


def successful_document(file: File) -> dict[str, Any]:
    return {
        "DATA_TYPE": "successful_transfer",
        "source_path": file.source,
        "destination_path": file.destination,
        "size": file.size,
        "checksum": None,
        "checksum_algorithm": None,
        "dynamic": False,
    }


def skipped_document(file: File) -> dict[str, Any]:
    return {
        "DATA_TYPE": "skipped_error",
        "source_path": file.source,
        "destination_path": file.destination,
        "error_code": file.error,
        "error_details": file.error.lower().replace("_", " "),
        "error_time": None,
        "is_directory": False,
        "is_symlink": False,
    }


def accepted(kind: str, task: Task, *, duplicate: bool) -> dict[str, Any]:
    what = kind.lower()
    again = f"The {what} has already been accepted under this submission id"
    message = f"The {what} has been accepted and a task has been created and queued for execution"
    return {
        "DATA_TYPE": f"{what}_result",
        "code": "Duplicate" if duplicate else "Accepted",
        "message": again if duplicate else message,
        "submission_id": task.submission_id,
        "task_id": task.task_id,
        "task_link": {
            "DATA_TYPE": "link",
            "href": f"/v0.10/task/{task.task_id}?format=json",
            "rel": "related",
            "resource": "task",
            "title": "related task",
        },
    }


def endpoint_document(collection: Collection, owner: str) -> dict[str, Any]:
    kind = "GCSv5_mapped_collection" if collection.mapped else "GCSv5_guest_collection"
    return {
        "DATA_TYPE": "endpoint",
        "id": collection.collection_id,
        "display_name": collection.name,
        "entity_type": kind,
        "owner_id": owner,
        "owner_string": f"{owner}@globus-sim",
        "username": owner,
        "description": None,
        "organization": "globus-sim",
        "public": True,
        "is_globus_connect": False,
        "gcp_connected": None,
        "gcp_paused": None,
        "non_functional": False,
        "non_functional_endpoint_id": None,
        "non_functional_endpoint_display_name": None,
        "disable_verify": False,
        "force_verify": False,
        "force_encryption": False,
        "high_assurance": collection.high_assurance,
        "mfa_required": False,
        "authentication_timeout_mins": 30 if collection.high_assurance else None,
        "default_directory": "/",
        "host_path": None,
        "shareable": False,
        "acl_available": False,
        "acl_editable": False,
        "in_use": False,
    }
