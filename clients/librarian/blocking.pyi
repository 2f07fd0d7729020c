# Made by scripts/blocking_stub.py from the asyncio client: do not edit.

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Self

from librarian import client
from librarian.api.catalog.v1 import catalog_pb2
from librarian.api.common.v1 import common_pb2
from librarian.api.federation.v1 import federation_pb2
from librarian.api.gateway.v1 import gateway_pb2
from librarian.api.store.v1 import store_pb2
from librarian.api.transfer.v1 import transfer_pb2
from librarian.client.bytes import PathLike
from librarian.client.datasets import Order
from librarian.connection.settings import ConnectionSettings
from librarian.fetch.session import GetResult
from librarian.ingest.items import PutItem, PutResult
from librarian.progress import Progress

class Librarian:
    def __init__(self, asynchronous: client.Librarian) -> None: ...
    @classmethod
    def connect(
        cls, *, site: str = "", address: str = "", token: str = "", insecure: bool = False
    ) -> Self: ...
    @property
    def settings(self) -> ConnectionSettings: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def add_route(self, route: transfer_pb2.Route, *, backfill: bool = False) -> transfer_pb2.Route: ...
    def add_store(self, store: store_pb2.Store, *, service: str = "") -> store_pb2.Store: ...
    def cancel_transfers(
        self,
        transfer_ids: Sequence[str] = ...,
        *,
        destination: str = "",
        name_glob: str = "",
        name_globs: Sequence[str] = ...,
        route_id: str = "",
        reason: str = "",
    ) -> transfer_pb2.CancelTransfersResponse: ...
    def deliveries(
        self,
        states: Sequence[federation_pb2.DeliveryState.ValueType] = ...,
        *,
        peer: str = "",
        limit: int | None = None,
    ) -> Iterator[transfer_pb2.IncomingDelivery]: ...
    def drain_store(self, name: str, *, drain: bool = True) -> store_pb2.Store: ...
    def explain(self, name: str, destination: str = "") -> transfer_pb2.ExplainDatasetResponse: ...
    def find(
        self,
        glob: str = "",
        *,
        tags: Mapping[str, str] | None = None,
        uploader: str = "",
        min_size_bytes: int | None = None,
        max_size_bytes: int | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        has_store: str = "",
        lacks_store: str = "",
        has_site: str = "",
        lacks_site: str = "",
        has_replica_state: str = "",
        order: Order = ...,
        limit: int | None = None,
        with_replicas: bool = False,
    ) -> Iterator[catalog_pb2.Dataset]: ...
    def find_route(self, which: str) -> transfer_pb2.Route: ...
    def get(
        self,
        name: str,
        destination: PathLike,
        *,
        members: str | Sequence[str] = ...,
        force: bool = False,
        store: str = "",
        progress: Progress | None = None,
    ) -> GetResult: ...
    def history(self, name: str) -> Iterator[catalog_pb2.Event]: ...
    def ingests(
        self, states: Sequence[transfer_pb2.IngestState.ValueType] = ..., *, limit: int | None = None
    ) -> Iterator[transfer_pb2.Ingest]: ...
    def invite_peer(self, name: str, *, lifetime_seconds: int = 0) -> gateway_pb2.InvitePeerResponse: ...
    def issue_token(
        self, subject: str, role: str = "reader", *, name_prefix: str = "", lifetime_seconds: int = 0
    ) -> gateway_pb2.IssueTokenResponse: ...
    def join_peer(self, code: str, *, insecure: bool = False) -> gateway_pb2.Peer: ...
    def ls(
        self,
        prefix: str = "",
        *,
        has_site: str = "",
        lacks_site: str = "",
        order: Order = ...,
        limit: int | None = None,
        with_replicas: bool = False,
    ) -> Iterator[catalog_pb2.Dataset]: ...
    def members(self, name: str | catalog_pb2.Dataset, glob: str = "") -> Iterator[common_pb2.Member]: ...
    def pause_peer(self, name: str, *, paused: bool = True) -> gateway_pb2.Peer: ...
    def pause_route(self, route_id: str, *, pause: bool = True) -> transfer_pb2.Route: ...
    def peers(self, *, with_removed: bool = False) -> list[gateway_pb2.Peer]: ...
    def prioritize_transfers(
        self,
        priority: int,
        transfer_ids: Sequence[str] = ...,
        *,
        destination: str = "",
        name_glob: str = "",
        name_globs: Sequence[str] = ...,
        route_id: str = "",
    ) -> transfer_pb2.PrioritizeTransfersResponse: ...
    def put(
        self,
        path: PathLike,
        name: str,
        *,
        tags: Mapping[str, str] | None = None,
        create_time: datetime | None = None,
        algorithm: str = ...,
        store: str = "",
        progress: Progress | None = None,
    ) -> PutResult: ...
    def put_each(
        self,
        directory: PathLike,
        prefix: str = "",
        *,
        tags: Mapping[str, str] | None = None,
        algorithm: str = ...,
        store: str = "",
        progress: Progress | None = None,
    ) -> Iterator[PutResult]: ...
    def put_many(
        self,
        items: Iterable[PutItem],
        *,
        algorithm: str = ...,
        store: str = "",
        progress: Progress | None = None,
    ) -> Iterator[PutResult]: ...
    def read(self, name: str, *, members: str | Sequence[str] = ..., store: str = "") -> Iterator[bytes]: ...
    def register(
        self,
        store: str,
        *,
        path: str = "",
        glob: str = "",
        algorithm: str = ...,
        tags: Mapping[str, str] | None = None,
        progress: Progress | None = None,
    ) -> transfer_pb2.RegisterTreesResponse: ...
    def remove_peer(self, name: str) -> gateway_pb2.Peer: ...
    def remove_route(self, route_id: str) -> int: ...
    def retry_transfers(
        self,
        transfer_ids: Sequence[str] = ...,
        *,
        destination: str = "",
        name_glob: str = "",
        name_globs: Sequence[str] = ...,
        route_id: str = "",
    ) -> transfer_pb2.RetryTransfersResponse: ...
    def revoke_token(self, token_id: str) -> gateway_pb2.Token: ...
    def routes(self) -> list[transfer_pb2.Route]: ...
    def scan(self, store: str, *, progress: Progress | None = None) -> Iterator[store_pb2.ScanFinding]: ...
    def set_peer(
        self, name: str, *, address: str | None = None, insecure: bool | None = None
    ) -> gateway_pb2.Peer: ...
    def show(self, name: str) -> catalog_pb2.Dataset: ...
    def status(self) -> gateway_pb2.GetSiteResponse: ...
    def stores(self) -> list[store_pb2.Store]: ...
    def summary(self) -> catalog_pb2.GetSummaryResponse: ...
    def tokens(self) -> Iterator[gateway_pb2.Token]: ...
    def transfer(self, transfer_id: str) -> transfer_pb2.GetTransferResponse: ...
    def transfer_status(self) -> transfer_pb2.GetTransferStatusResponse: ...
    def transfers(
        self,
        states: Sequence[transfer_pb2.TransferState.ValueType] = ...,
        *,
        destination: str = "",
        name_glob: str = "",
        name_globs: Sequence[str] = ...,
        dataset_uid: str = "",
        route_id: str = "",
        limit: int | None = None,
    ) -> Iterator[transfer_pb2.Transfer]: ...
    def update_route(self, route: transfer_pb2.Route, fields: list[str]) -> transfer_pb2.Route: ...
    def update_store(self, store: store_pb2.Store, fields: list[str]) -> store_pb2.Store: ...
    def verify(self, name: str, *, progress: Progress | None = None) -> list[store_pb2.ReplicaReport]: ...
    def verify_store(
        self, store: str, *, after_uid: str = "", progress: Progress | None = None
    ) -> Iterator[transfer_pb2.VerifyReplicasResponse]: ...
    def watch_transfers(
        self, destination: str = "", *, progress: Progress | None = None
    ) -> Iterator[transfer_pb2.WatchTransfersResponse]: ...

def asynchronous_methods() -> dict[str, Callable[..., Any]]: ...
