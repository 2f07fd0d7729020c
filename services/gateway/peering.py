"""All that the gateway has to do with other sites, put together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.announcing import Announcing
from gateway.backends import Backends
from gateway.checkins import CheckIns
from gateway.derived import INVITATIONS, SESSIONS, derived_key
from gateway.joining import Joining
from gateway.opencalls import OpenCalls
from gateway.pairing import Pairing
from gateway.peerauth import PeerAuthentication
from gateway.peerbook import PeerBook
from gateway.peerdesk import PeerDesk
from gateway.peers import checked_address, is_plain_beyond
from gateway.peerservicers import PairingServicer, PeerServicer
from gateway.watch import CallWatch, ends_of_peers
from librarian.api.federation.v1 import federation_pb2
from librarian.api.federation.v1.federation_pb2_grpc import add_PairingServiceServicer_to_server
from librarian.api.gateway.v1 import gateway_pb2
from librarian.api.gateway.v1.gateway_pb2_grpc import add_PeerServiceServicer_to_server
from svckit.auth import Signer
from svckit.database import Database
from svckit.notifications import Bell
from svckit.peerlink import PeerLinks
from svckit.server import Runtime, ServicerRegistration
from svckit.sitekeys import SiteKeys

_PEER_SERVICE = gateway_pb2.DESCRIPTOR.services_by_name["PeerService"].full_name
_PAIRING_SERVICE = federation_pb2.DESCRIPTOR.services_by_name["PairingService"].full_name


class Peering:
    """`links`: to the peers, by which they are called now and then."""

    def __init__(
        self,
        runtime: Runtime,
        database: Database,
        backends: Backends,
        bell: Bell,
        links: PeerLinks,
        *,
        keys: SiteKeys,
        key: Ed25519PrivateKey,
        signer: Signer,
    ) -> None:
        settings, clock, ids, logger = runtime.settings, runtime.clock, runtime.ids, runtime.logger
        own = _own_address(settings.gateway.public_address)
        session_key = derived_key(key, SESSIONS)
        invitation_key = derived_key(key, INVITATIONS)
        book = PeerBook(database, clock)
        self.calls = OpenCalls()
        self.authentication = PeerAuthentication(keys.site, book, clock, logger, session_key=session_key)
        self.desk = PeerDesk(
            database,
            clock,
            ids,
            keys=keys,
            own=own,
            invitation_key=invitation_key,
            store_services=backends.stores,
        )
        self._bell = bell
        self._watch = CallWatch(
            self.calls, ends_of_peers(book, keys.site), clock, logger, forget=self.authentication.forget
        )
        self._announcing = Announcing(
            backends.transfer, database=database, clock=clock, signer=signer, logger=logger
        )
        self._check_ins = CheckIns(
            database,
            clock,
            logger,
            book,
            links,
            keys=keys,
            own=own,
            seconds=settings.gateway.check_in_seconds,
        )
        pairing = Pairing(
            database,
            clock,
            ids,
            logger,
            keys=keys,
            session_key=session_key,
            invitation_key=invitation_key,
            own=own,
        )
        joining = Joining(database, clock, ids, keys=keys, own=own)
        self._for_people = PeerServicer(
            keys.site, self.desk, joining, self._watch, bell, self._announcing.try_now
        )
        self._for_sites = PairingServicer(pairing, self._check_ins, bell)

    @property
    def registrations(self) -> Sequence[ServicerRegistration]:
        return (
            ServicerRegistration(
                (_PEER_SERVICE,), lambda server: add_PeerServiceServicer_to_server(self._for_people, server)
            ),
            ServicerRegistration(
                (_PAIRING_SERVICE,),
                lambda server: add_PairingServiceServicer_to_server(self._for_sites, server),
            ),
        )

    def spawn(self, runtime: Runtime) -> None:
        """What runs beside the door."""
        runtime.spawn("peer-watch", self._watch.follow(self._bell))
        runtime.spawn("peers-told", self._announcing.follow(self._bell))
        runtime.spawn("check-ins", self._check_ins.follow(self._bell))


@asynccontextmanager
async def open_peering(
    runtime: Runtime,
    database: Database,
    backends: Backends,
    bell: Bell,
    *,
    key: Ed25519PrivateKey,
    signer: Signer,
) -> AsyncIterator[Peering]:
    """`key`: the gateway's own. Raises InvalidConfig and Refused for what is wrong with the site's."""
    keys = SiteKeys.load(runtime.settings.site.name, runtime.settings.auth.site_key_file)
    async with PeerLinks(site=keys.site, key=keys.key, former=keys.former, clock=runtime.clock) as links:
        yield Peering(runtime, database, backends, bell, links, keys=keys, key=key, signer=signer)


def _own_address(public_address: str) -> federation_pb2.SiteAddress:
    """In the clear beyond this machine only because the settings say grpc://."""
    address = checked_address(public_address, insecure=True)
    return federation_pb2.SiteAddress(address=address, insecure=is_plain_beyond(address))
