"""Messages about stores themselves, to values and back."""

from __future__ import annotations

from typing import Any

from librarian.api.store.v1 import store_pb2 as pb
from librarian.errors import InvalidInput, InvalidStore
from store_svc.records import Capabilities, Store, StoreClass
from store_svc.room import DEFAULT_FILL_FRACTION
from store_svc.stores import Usage
from svckit.sections import StoreSettings


def store_from_proto(message: pb.Store, settings: StoreSettings) -> Store:
    """As asked for; what is 0 or empty has its default. Raises InvalidStore."""
    return Store(
        name=message.name,
        store_uid="",
        root=message.root,
        store_class=_store_class(message.store_class or pb.STORE_CLASS_ONLINE),
        failure_domain=message.failure_domain or message.name,
        enabled=message.enabled,
        ingestible=message.ingestible,
        priority=message.priority,
        fill_fraction=message.fill_fraction or settings.fill_fraction,
        max_bytes=message.max_bytes,
        max_inodes=message.max_inodes,
        file_mode=message.file_mode or int(settings.file_mode, 8),
        directory_mode=message.directory_mode or int(settings.directory_mode, 8),
        staging_mode=message.staging_mode or int(settings.staging_mode, 8),
        owner=message.owner,
        read_only=message.read_only,
        client_root=message.client_root,
        capabilities=Capabilities(),
        rsync_root=message.rsync_root,
    )


def changes_from_proto(message: pb.Store, fields: list[str], settings: StoreSettings) -> dict[str, Any]:
    """New values by field name, of those the mask names; 0 stands for the default as it does at first."""
    if not fields:
        raise InvalidInput(
            "the update_mask is empty", remedy="name the fields to change", field="update_mask"
        )
    whole = store_from_proto(message, settings)
    return {name: getattr(whole, name, None) for name in fields}


def _store_class(number: int) -> StoreClass:
    try:
        return StoreClass(number)
    except ValueError:
        raise InvalidStore(f"{number} is no store class") from None


def store_to_proto(usage: Usage) -> pb.Store:
    store = usage.store
    message = pb.Store(
        name=store.name,
        root=store.root,
        store_class=pb.StoreClass.ValueType(store.store_class),
        failure_domain=store.failure_domain,
        enabled=store.enabled,
        ingestible=store.ingestible,
        priority=store.priority,
        fill_fraction=store.fill_fraction or DEFAULT_FILL_FRACTION,
        max_bytes=store.max_bytes,
        max_inodes=store.max_inodes,
        file_mode=store.file_mode,
        directory_mode=store.directory_mode,
        staging_mode=store.staging_mode,
        owner=store.owner,
        read_only=store.read_only,
        client_root=store.client_root,
        capabilities=_capabilities_to_proto(store.capabilities),
        store_uid=store.store_uid,
        trouble=usage.trouble,
        rsync_root=store.rsync_root,
    )
    message.usage.held_count = store.held_count
    message.usage.held_bytes = store.held_bytes
    message.usage.reserved_bytes = usage.promised.to_come.data_bytes
    if usage.disk is not None and usage.room is not None:
        limit = store.max_bytes or usage.disk.capacity_bytes
        message.usage.capacity_bytes = min(limit, usage.disk.capacity_bytes)
        message.usage.free_bytes = usage.disk.available_bytes
        message.usage.free_inodes = usage.disk.available_inodes
        message.usage.grantable_bytes = usage.room.grantable_bytes if store.ingestible else 0
    return message


def _capabilities_to_proto(found: Capabilities) -> pb.StoreCapabilities:
    return pb.StoreCapabilities(
        rename_noreplace=found.rename_noreplace,
        hard_links=found.hard_links,
        reflink=found.reflink,
        chown=found.chown,
        leases=found.leases,
        case_sensitive=found.case_sensitive,
        symlinks=found.symlinks,
        max_file_bytes=found.max_file_bytes,
        file_system=found.file_system,
    )
