"""Which role may call which method. A method that is not listed here is refused."""

from __future__ import annotations

from svckit.auth import Role

_CATALOG = "/librarian.api.catalog.v1.CatalogService/"
_STORE = "/librarian.api.store.v1.StoreService/"
_TRANSFER = "/librarian.api.transfer.v1.TransferService/"
_SHIPMENT = "/librarian.api.shipment.v1.ShipmentService/"
_SITE = "/librarian.api.gateway.v1.SiteService/"
_PEERS = "/librarian.api.gateway.v1.PeerService/"
_PAIRING = "/librarian.api.federation.v1.PairingService/"
_FEDERATION = "/librarian.api.federation.v1.FederationService/"

SERVICES = frozenset({Role.SERVICE})
# Another site. It is no reader: what it may do is listed for it by name.
PEERS = frozenset({Role.PEER})
READERS = frozenset(Role) - PEERS
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
    _CATALOG + "RecordReceipts": SERVICES,
    _CATALOG + "ListReceipts": READERS,
    _STORE + "ListStores": READERS,
    _STORE + "AddStore": OPERATORS,
    _STORE + "UpdateStore": OPERATORS,
    _STORE + "BeginUploads": SERVICES,
    # Peers too: a ticket names the uploads.
    _STORE + "WriteUpload": INGESTERS | PEERS,
    _STORE + "GetUpload": INGESTERS | PEERS,
    _STORE + "CommitUploads": SERVICES,
    _STORE + "ReadManifest": SERVICES,
    _STORE + "ConfirmUploads": SERVICES,
    _STORE + "AbortUploads": SERVICES,
    _STORE + "BeginRead": READERS,
    _STORE + "ReadDataset": READERS,
    _STORE + "VerifyReplica": SERVICES,
    _STORE + "AdoptTrees": SERVICES,
    _STORE + "FindTrees": SERVICES,
    _STORE + "ListHeld": SERVICES,
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
    _TRANSFER + "AddRoute": OPERATORS,
    _TRANSFER + "ListRoutes": READERS,
    _TRANSFER + "UpdateRoute": OPERATORS,
    _TRANSFER + "RemoveRoute": OPERATORS,
    _TRANSFER + "ListTransfers": READERS,
    _TRANSFER + "GetTransfer": READERS,
    _TRANSFER + "WatchTransfers": READERS,
    _TRANSFER + "RetryTransfers": OPERATORS,
    _TRANSFER + "CancelTransfers": OPERATORS,
    _TRANSFER + "PrioritizeTransfers": OPERATORS,
    _TRANSFER + "ExplainDataset": READERS,
    _TRANSFER + "GetTransferStatus": READERS,
    _TRANSFER + "ListDeliveries": READERS,
    _TRANSFER + "PutPeers": SERVICES,
    _SHIPMENT + "InitDisk": OPERATORS,
    _SHIPMENT + "NoteDisk": OPERATORS,
    _SHIPMENT + "SyncDisk": OPERATORS,
    _SHIPMENT + "ReleaseDisk": OPERATORS,
    _SHIPMENT + "PackShipment": OPERATORS,
    _SHIPMENT + "SealShipment": OPERATORS,
    _SHIPMENT + "DepartShipment": OPERATORS,
    _SHIPMENT + "ArriveShipment": OPERATORS,
    _SHIPMENT + "HandOverShipment": OPERATORS,
    _SHIPMENT + "ReadShipment": OPERATORS,
    _SHIPMENT + "LoseShipment": OPERATORS,
    _SHIPMENT + "CancelShipment": OPERATORS,
    _SHIPMENT + "CancelJobs": OPERATORS,
    _SHIPMENT + "ListDisks": READERS,
    _SHIPMENT + "GetDisk": READERS,
    _SHIPMENT + "ListShipments": READERS,
    _SHIPMENT + "GetShipment": READERS,
    _SHIPMENT + "ListCargo": READERS,
    _SHIPMENT + "GetManifest": READERS,
    _SHIPMENT + "GetLabel": READERS,
    _SHIPMENT + "WaitJobs": READERS,
    # A site's own workers bring datasets to its other stores by the same calls.
    _FEDERATION + "Offer": PEERS | SERVICES,
    _FEDERATION + "Deliver": PEERS | SERVICES,
    _FEDERATION + "GetBatch": PEERS | SERVICES,
    _FEDERATION + "Withdraw": PEERS | SERVICES,
    _FEDERATION + "ListReceipts": PEERS,
    _FEDERATION + "AnnounceShipment": PEERS,
    _FEDERATION + "ExchangeConsignments": PEERS,
    _PAIRING + "CheckIn": PEERS,
    _PEERS + "InvitePeer": ADMINS,
    _PEERS + "JoinPeer": ADMINS,
    _PEERS + "ListPeers": READERS,
    _PEERS + "UpdatePeer": OPERATORS - SERVICES,
    _PEERS + "RemovePeer": ADMINS,
    _SITE + "GetSite": READERS,
    _SITE + "IssueToken": ADMINS,
    _SITE + "ListTokens": ADMINS,
    _SITE + "RevokeToken": ADMINS,
}

# Answered to anyone who reaches the port: probes and tools carry no token.
PROBES = ("/grpc.health.v1.Health/", "/grpc.reflection.v1alpha.ServerReflection/")
# Hello opens a session and Join proves itself by an invitation's secret: neither can carry a token.
OPEN_METHODS = frozenset({_PAIRING + "Hello", _PAIRING + "Join"})


def is_probe(method: str) -> bool:
    """Others' services, served as they are."""
    return method.startswith(PROBES)


def is_open(method: str) -> bool:
    return method in OPEN_METHODS or is_probe(method)
