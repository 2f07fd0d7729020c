"""Which role may call which method. A method that is not listed here is refused."""

from __future__ import annotations

from svckit.auth import Role

_CATALOG = "/librarian.api.catalog.v1.CatalogService/"
_STORE = "/librarian.api.store.v1.StoreService/"
_TRANSFER = "/librarian.api.transfer.v1.TransferService/"
_SITE = "/librarian.api.gateway.v1.SiteService/"

SERVICES = frozenset({Role.SERVICE})
READERS = frozenset(Role)
INGESTERS = READERS - {Role.READER}
OPERATORS = INGESTERS - {Role.INGESTER}
# Token management is for people: no service is among them.
ADMINS = frozenset({Role.ADMIN})

METHOD_ROLES: dict[str, frozenset[Role]] = {
    _CATALOG + "GetDataset": READERS,
    _CATALOG + "BatchGetDatasets": READERS,
    _CATALOG + "ListDatasets": READERS,
    _CATALOG + "ListMembers": READERS,
    _CATALOG + "RegisterDatasets": SERVICES,
    _CATALOG + "AddMembers": SERVICES,
    _CATALOG + "ReserveNames": SERVICES,
    _CATALOG + "PublishDatasets": SERVICES,
    _CATALOG + "UpdateReplicas": SERVICES,
    _CATALOG + "ListEvents": READERS,
    _CATALOG + "WatchEvents": READERS,
    _CATALOG + "GetSummary": READERS,
    _STORE + "ListStores": READERS,
    _STORE + "AddStore": OPERATORS,
    _STORE + "UpdateStore": OPERATORS,
    _STORE + "BeginUploads": SERVICES,
    _STORE + "WriteUpload": INGESTERS,
    _STORE + "GetUpload": INGESTERS,
    _STORE + "CommitUploads": SERVICES,
    _STORE + "ReadManifest": SERVICES,
    _STORE + "ConfirmUploads": SERVICES,
    _STORE + "AbortUploads": SERVICES,
    _STORE + "BeginRead": READERS,
    _STORE + "ReadDataset": READERS,
    _STORE + "VerifyReplica": SERVICES,
    _STORE + "AdoptTrees": SERVICES,
    _STORE + "FindTrees": SERVICES,
    _STORE + "ScanStore": SERVICES,
    _STORE + "RevokeTickets": SERVICES,
    _TRANSFER + "BeginIngests": INGESTERS,
    _TRANSFER + "CommitIngests": INGESTERS,
    _TRANSFER + "WaitIngests": INGESTERS,
    _TRANSFER + "GetIngest": READERS,
    _TRANSFER + "ListIngests": READERS,
    _TRANSFER + "AbortIngests": INGESTERS,
    _TRANSFER + "RegisterTrees": OPERATORS,
    _TRANSFER + "VerifyReplicas": OPERATORS,
    _TRANSFER + "ScanStore": OPERATORS,
    _SITE + "GetSite": READERS,
    _SITE + "IssueToken": ADMINS,
    _SITE + "ListTokens": ADMINS,
    _SITE + "RevokeToken": ADMINS,
}

# Answered to anyone who reaches the port: probes and tools carry no token.
OPEN_SERVICES = (
    "/grpc.health.v1.Health/",
    "/grpc.reflection.v1alpha.ServerReflection/",
)


def is_open(method: str) -> bool:
    return method.startswith(OPEN_SERVICES)
