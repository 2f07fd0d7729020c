"""What status tells of peers and of what goes between sites."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from support.client_site import ClientSite
from support.client_site.commands import Run
from support.on_the_way import SIZE, transfer

from librarian.api.gateway.v1 import gateway_pb2
from librarian.api.transfer.v1 import transfer_pb2
from librarian.cli.exits import ExitCode
from librarian.errors import NameTaken, RoleMayNot, Unimplemented
from librarian.messages import timestamp


def ago(**past: float) -> datetime:
    return datetime.now(UTC) - timedelta(**past)


def busy(site: ClientSite) -> None:
    site.peers.peers = [
        gateway_pb2.Peer(
            name="nersc",
            address="grpc://nersc:7000",
            link_state=gateway_pb2.LINK_STATE_DOWN,
            link_reason="Connection refused",
            link_since_time=timestamp(ago(minutes=5)),
            last_heard_time=timestamp(ago(minutes=6)),
        ),
        gateway_pb2.Peer(name="telescope", link_state=gateway_pb2.LINK_STATE_INBOUND),
    ]
    site.transfer.status = transfer_pb2.GetTransferStatusResponse(
        links=[
            transfer_pb2.LinkStatus(
                peer="nersc", broken=True, reason="no answer", next_time=timestamp(ago(seconds=-90))
            ),
            transfer_pb2.LinkStatus(peer="moon", paused=True),
            transfer_pb2.LinkStatus(peer="fine"),
        ],
        queues=[
            transfer_pb2.QueueStatus(
                destination="nersc", via="stream", waiting_count=1200, waiting_bytes=5 * SIZE,
                oldest_time=timestamp(ago(hours=2)), active_count=4, active_bytes=4 * SIZE,
                moved_bytes=SIZE, bytes_per_second=5_000_000, held_count=30, failed_count=1,
            )
        ],
        held=[
            transfer(number, "held", trouble=NameTaken("other bytes have that name")) for number in range(12)
        ],
        incoming=[
            transfer_pb2.IncomingStatus(peer="telescope", active_count=3, active_bytes=SIZE, refused_count=2)
        ],
    )  # fmt: skip


def test_all_of_it(lib: Run, site: ClientSite) -> None:
    busy(site)
    said = lib("status")
    assert (said.code, said.err) == (ExitCode.DONE, "")
    text = "\n".join(" ".join(line.split()) for line in said.out.splitlines())
    assert "nersc: Connection refused" in text
    assert "telescope inbound none: it calls here" in text
    assert "sending to nersc fails: no answer; tried again at " in text
    assert "nothing is sent to moon: it is paused; `librarian peer resume moon`" in text
    assert "sending to fine" not in text
    assert "nersc stream 1,200 5.00 GB 2 h 00 m 4 4.00 GB 25 % 5.00 MB/s 30 1" in text
    assert "30 transfers held: a person has to look" in text
    assert text.count("NAME_TAKEN: other bytes have that name\nwhat to do: ") == 10
    assert "and 20 more: `librarian transfer ls --state held`" in text
    assert "telescope 3 1.00 GB 2 -" in text
    assert "librarian transfer ls --incoming --state refused" in text
    value = lib("status", "--json").value
    assert [peer["link_state"] for peer in value["peers"]] == ["LINK_STATE_DOWN", "LINK_STATE_INBOUND"]
    assert value["transfers"]["queues"][0]["waiting_count"] == 1200
    assert value["transfers"]["held"][0]["error"]["reason"] == "NAME_TAKEN"
    assert value["troubles"] == {}


def test_who_may_not_see_peers_is_told_the_rest(lib: Run, site: ClientSite) -> None:
    busy(site)
    site.state.fail["ListPeers"] = [RoleMayNot("a reader may not")] * 2
    said = lib("status")
    assert said.code == ExitCode.DONE
    assert "30 transfers held" in said.out
    assert "peers: a reader may not" in said.err
    value = lib("status", "--json").value
    assert value["troubles"]["peers"]["reason"] == "ROLE_MAY_NOT"
    assert value["peers"] == []


def test_an_older_site_has_nothing_to_tell_of_it(lib: Run, site: ClientSite) -> None:
    for method in ("ListPeers", "GetTransferStatus"):
        site.state.fail[method] = [Unimplemented("Method not found!")] * 2
    said = lib("status")
    assert (said.code, said.err) == (ExitCode.DONE, "")
    value = lib("status", "--json").value
    assert (value["peers"], value["transfers"], value["troubles"]) == ([], None, {})


def test_a_command_an_older_site_does_not_know(lib: Run, site: ClientSite) -> None:
    site.state.fail["ListRoutes"] = [Unimplemented("Method not found!")]
    said = lib("route", "ls", "--json")
    assert said.code == ExitCode.FAILED
    assert said.error["reason"] == "UNIMPLEMENTED"
    assert "older version" in said.error["remedy"]
