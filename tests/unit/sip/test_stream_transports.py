"""TCP and TLS on real sockets: what is reused, what is refused, and what a failure comes to."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import pytest
from stream_lane import Authority, Peer, call_through

from sip.core.events import IncomingRequest, InviteAnswered, InviteFailed, InviteProgress, SessionEnded
from sip.core.hop import Hop
from sip.transport.stream_connection import StreamLimits

OPTIONS = (
    b"OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1:9;branch=z9hG4bK%d\r\nFrom: <sip:a@b>;tag=1\r\n"
    b"To: <sip:a@b>\r\nCall-ID: %d\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
)


@pytest.fixture
async def peer() -> AsyncIterator[Callable[..., Peer]]:
    peers: list[Peer] = []

    def make(**arguments: object) -> Peer:
        peers.append(Peer(**arguments))  # type: ignore[arg-type]  # by name, in tests
        return peers[-1]

    yield make
    for each in peers:
        each.endpoint.close()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not true():
            await asyncio.sleep(0.005)


async def test_call_over_one_tcp_connection(peer: Callable[..., Peer]) -> None:
    a, b = peer(), peer()
    await call_through(a, b, b.hop("tcp"))
    invite = a.sent(b"INVITE")[0][0]
    assert b"Via: SIP/2.0/TCP " in invite
    assert b";transport=tcp>" in invite
    assert a.tcp.counters.connected == 1
    assert b.tcp.counters.accepted == 1
    # BYE went to the Contact, which is the listener that the first connection is to.
    assert a.sent(b"BYE")[0][1] == b.hop("tcp")
    assert b.tcp.counters.connected == 0


async def test_response_goes_back_on_the_connection_whatever_via_says(peer: Callable[..., Peer]) -> None:
    b = peer()
    reader, writer = await asyncio.open_connection(*b.tcp.address)
    writer.write(OPTIONS % (1, 1) + OPTIONS % (2, 2) + b"\r\n\r\n")
    async with asyncio.timeout(5):
        for _ in range(2):
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"SIP/2.0 200 ")
        assert await reader.readexactly(2) == b"\r\n"  # pong
    writer.close()


async def test_refused_connection_fails_the_call_with_503(peer: Callable[..., Peer]) -> None:
    a = peer()
    nobody = peer(tcp=False)
    a.call(Hop("tcp", *nobody.udp.address))
    failed = await a.told(InviteFailed)
    assert isinstance(failed, InviteFailed)
    assert failed.status == 503
    assert a.tcp.counters.connect_failures == 1
    assert a.tcp.connections == 0


async def test_connection_that_breaks_before_any_response_fails_the_call(peer: Callable[..., Peer]) -> None:
    a = peer()
    accepted: list[asyncio.StreamWriter] = []

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(writer)
        await reader.read(10)
        writer.transport.abort()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    a.call(Hop("tcp", *server.sockets[0].getsockname()))
    failed = await a.told(InviteFailed)
    assert isinstance(failed, InviteFailed)
    assert failed.status == 503
    server.close()


async def test_large_request_moves_to_tcp(peer: Callable[..., Peer]) -> None:
    a, b = peer(tcp_from_octets=1300), peer()
    a.call(b.hop("udp"), body=b"v=0\r\n" + b"a=x\r\n" * 300)
    await a.told(InviteAnswered)
    ((data, hop),) = a.sent(b"INVITE")
    assert hop.transport == "tcp"
    assert b"\r\nVia: SIP/2.0/TCP " in data
    assert a.agent.counters.moved_to_tcp == 1


async def test_small_request_stays_on_udp(peer: Callable[..., Peer]) -> None:
    a, b = peer(tcp_from_octets=1300), peer()
    await call_through(a, b, b.hop("udp"))
    assert {hop.transport for _, hop in a.sent(b"INVITE")} == {"udp"}
    assert a.tcp.connections == 0


async def test_large_request_comes_back_to_udp_where_nobody_listens_on_tcp(peer: Callable[..., Peer]) -> None:
    a, b = peer(tcp_from_octets=1300), peer(tcp=False)
    for times in (1, 2):
        a.call(b.hop("udp"), body=b"v=0\r\n" + b"a=x\r\n" * 300)
        await b.told(SessionEnded, times)
    assert [hop.transport for _, hop in a.sent(b"INVITE")] == ["tcp", "udp", "udp"]
    assert b"\r\nVia: SIP/2.0/UDP " in a.sent(b"INVITE")[1][0]
    assert a.agent.counters.fallen_back_to_udp == 1  # the second call knew already
    assert not any(isinstance(event, InviteFailed) for event in a.events)


async def test_garbage_closes_the_connection_and_no_other(peer: Callable[..., Peer]) -> None:
    b = peer()
    good_reader, good = await asyncio.open_connection(*b.tcp.address)
    reader, writer = await asyncio.open_connection(*b.tcp.address)
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    async with asyncio.timeout(5):
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
        good.write(OPTIONS % (1, 1))
        assert (await good_reader.readline()).startswith(b"SIP/2.0 200 ")
    assert b.tcp.counters.closed_garbage == 1
    good.close()


async def test_one_source_cannot_take_all_connections(peer: Callable[..., Peer]) -> None:
    b = peer(limits=StreamLimits(connections_per_source_max=2))
    writers = [(await asyncio.open_connection(*b.tcp.address))[1] for _ in range(3)]
    await until(lambda: b.tcp.counters.refused_at_limit == 1)
    assert b.tcp.connections == 2
    for each in writers:
        each.close()
    await until(lambda: b.tcp.connections == 0)
    (await asyncio.open_connection(*b.tcp.address))[1].close()
    await until(lambda: b.tcp.counters.accepted == 3)


@pytest.mark.parametrize(
    "limits",
    [
        StreamLimits(connections_per_source_max=2, handshake_seconds=0.5),
        StreamLimits(connections_max=2, handshake_seconds=0.5),
    ],
    ids=["one source", "all"],
)
async def test_handshakes_that_are_never_ended_take_places_until_their_time_is_over(
    peer: Callable[..., Peer], tmp_path: Path, limits: StreamLimits
) -> None:
    """Who connects and says nothing costs a place from the first moment, for no longer than a handshake may last."""
    authority = Authority(tmp_path)
    b = peer(tls=authority.settings("127.0.0.1"), limits=limits)
    silent = [await asyncio.open_connection(*b.tls.address) for _ in range(2)]
    await until(lambda: b.tls.connections == 2)
    reader, writer = await asyncio.open_connection(*b.tls.address)
    async with asyncio.timeout(0.4):
        assert await reader.read() == b""  # before the handshake's time is over
    assert b.tls.counters.refused_at_limit == 1
    await until(lambda: b.tls.connections == 0)
    assert b.tls.counters.handshake_failures == 2
    a = peer(tls=authority.settings("a.example"))
    await call_through(a, b, b.hop("tls"))
    for each in (writer, *(mine for _, mine in silent)):
        each.close()


async def test_response_whose_connection_is_gone_goes_to_the_port_in_via(peer: Callable[..., Peer]) -> None:
    """RFC 3261 §18.2.2: by a new connection to the address that the request came from, at the sent-by's port."""
    b = peer(answers=False)
    received: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.readuntil(b"\r\n\r\n"))

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    _, writer = await asyncio.open_connection(*b.tcp.address)
    writer.write((OPTIONS % (1, 1)).replace(b"127.0.0.1:9;", b"client.example:%d;" % port))
    request = await b.told(IncomingRequest)
    assert isinstance(request, IncomingRequest)
    writer.transport.abort()
    await until(lambda: b.tcp.connections == 0)
    b.agent.respond(request.transaction, 200, asyncio.get_running_loop().time())
    b.endpoint.flush()
    await until(lambda: bool(received))
    assert received[0].startswith(b"SIP/2.0 200 ")
    assert b"received=127.0.0.1" in received[0]
    assert b.tcp.connections == 1
    server.close()


async def test_pinged_peer_that_stops_answering_is_cut(peer: Callable[..., Peer]) -> None:
    """RFC 5626 §4.4.1. What is called next goes by a new connection."""
    a = peer(limits=StreamLimits(ping_seconds=0.1, pong_seconds=0.2), hangs_up=False)
    pings: list[bytes] = []

    async def answer_twice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionResetError):
            await reader.readuntil(b"\r\n\r\n")
            while True:
                pings.append(await reader.readexactly(4))
                if len(pings) <= 2:
                    writer.write(b"\r\n")

    server = await asyncio.start_server(answer_twice, "127.0.0.1", 0)
    a.call(Hop("tcp", *server.sockets[0].getsockname()), body=b"")
    await until(lambda: a.tcp.counters.closed_silent == 1)
    await until(lambda: a.tcp.connections == 0)  # the loop tells of the end in a later turn
    assert pings[:3] == [b"\r\n\r\n"] * 3
    assert a.tcp.counters.pings_sent == len(pings) >= 3
    server.close()


async def test_peer_that_knows_no_pings_is_not_cut_for_it(peer: Callable[..., Peer]) -> None:
    a = peer(limits=StreamLimits(ping_seconds=0.05, pong_seconds=0.05), hangs_up=False)
    read: list[bytes] = []

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(4096):
            read.append(data)

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    a.call(Hop("tcp", *server.sockets[0].getsockname()), body=b"")
    await until(lambda: a.tcp.counters.pings_sent >= 5)
    assert (a.tcp.connections, a.tcp.counters.closed_silent) == (1, 0)
    server.close()


async def test_pings_between_two_of_ours_are_answered_and_keep_the_connection(peer: Callable[..., Peer]) -> None:
    """Pongs are told from the other side's pings: were two of them taken for one, each would answer the other for ever.

    The connections that others have made are theirs to ping.
    """
    limits = StreamLimits(ping_seconds=0.05, pong_seconds=0.5)
    a, b = peer(limits=limits, hangs_up=False), peer(limits=limits)
    a.call(b.hop("tcp"))
    await a.told(InviteAnswered)
    await until(lambda: a.tcp.counters.pings_sent >= 6)
    assert b.tcp.counters.pings_sent == 0
    assert (a.tcp.connections, a.tcp.counters.closed_silent) == (1, 0)
    assert a.agent.counters.keep_alives == 0
    assert 5 <= b.agent.counters.keep_alives <= a.tcp.counters.pings_sent


async def test_outgoing_connections_are_bounded(peer: Callable[..., Peer]) -> None:
    a, b, c = peer(limits=StreamLimits(connections_max=1), hangs_up=False), peer(), peer()
    a.call(b.hop("tcp"))
    await a.told(InviteAnswered)
    a.call(c.hop("tcp"))
    await a.told(InviteFailed)
    assert a.tcp.counters.refused_at_limit == 1


async def test_idle_connection_is_closed_though_octets_trickle(peer: Callable[..., Peer]) -> None:
    b = peer(limits=StreamLimits(idle_seconds=0.2))
    reader, writer = await asyncio.open_connection(*b.tcp.address)
    async with asyncio.timeout(5):
        for octet in b"OPTIONS sip:a@b SIP/2.0 and so on and so on":
            if reader.at_eof() or writer.transport.is_closing():  # uvloop knows of a reset before the reader does
                break
            writer.write(bytes([octet]))
            await asyncio.sleep(0.02)
    await until(lambda: b.tcp.counters.closed_idle == 1)
    writer.close()


async def test_peer_that_does_not_read_is_cut(peer: Callable[..., Peer]) -> None:
    b = peer(limits=StreamLimits(write_octets_max=20_000))
    narrow = socket.socket()  # so that the kernel holds kilobytes for it, and not the megabytes of loopback
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    narrow.setblocking(False)
    await asyncio.get_running_loop().sock_connect(narrow, b.tcp.address)
    reader, writer = await asyncio.open_connection(sock=narrow, limit=1024)
    numbers = iter(range(10**6))
    # Its answers carry this back: the kernel takes megabytes of them before we notice.
    asked = OPTIONS.replace(b"\r\nFrom:", b"\r\nVia: SIP/2.0/TCP b;branch=z9hG4bKb;pad=" + b"x" * 4000 + b"\r\nFrom:")
    async with asyncio.timeout(20):
        while not b.tcp.counters.closed_slow:
            writer.write(b"".join(asked % (number, number) for number in (next(numbers) for _ in range(50))))
            await asyncio.sleep(0)
            if reader.at_eof() or writer.transport.is_closing():
                break
    await until(lambda: b.tcp.counters.closed_slow == 1)
    writer.transport.abort()


async def test_call_over_tls_by_name(peer: Callable[..., Peer], tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    a, b = peer(tls=authority.settings("a.example")), peer(tls=authority.settings("b.example"))
    await call_through(a, b, b.hop("tls", "b.example"), "sips:100@b.example")
    invite = a.sent(b"INVITE")[0][0]
    assert b"Via: SIP/2.0/TLS " in invite
    assert b"Contact: <sips:" in invite
    assert b"Contact: <sips:" in b.sent(b"SIP/2.0 200 OK")[0][0]


async def test_in_dialog_request_of_a_verified_peer_reuses_its_connection(
    peer: Callable[..., Peer], tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    a = peer(tls=authority.settings("a.example"), hangs_up=False)
    b = peer(tls=authority.settings("127.0.0.1"))
    a.call(b.hop("tls"))
    await a.told(InviteAnswered)
    (session,) = b.agent.sessions.values()
    b.agent.bye(session, asyncio.get_running_loop().time())
    b.endpoint.flush()
    await a.told(SessionEnded)
    assert b.tls.counters.connected == 0  # a's certificate does not hold its address: a new one would have failed


@pytest.mark.parametrize(("names", "asked"), [(("b.example",), "c.example"), (("b.example",), ""), (("10.0.0.1",), "")])
async def test_certificate_of_another_name_fails_the_call(
    peer: Callable[..., Peer], tmp_path: Path, names: tuple[str, ...], asked: str
) -> None:
    authority = Authority(tmp_path)
    a, b = peer(tls=authority.settings("a.example")), peer(tls=authority.settings(*names))
    a.call(b.hop("tls", asked))
    failed = await a.told(InviteFailed)
    assert isinstance(failed, InviteFailed)
    assert failed.status == 503
    assert not b.events


async def test_certificate_of_an_unknown_authority_fails_the_call_unless_told_otherwise(
    peer: Callable[..., Peer], tmp_path: Path
) -> None:
    ours, theirs = Authority(tmp_path), Authority(tmp_path, "theirs")
    b = peer(tls=theirs.settings("127.0.0.1", trusts=ours))
    a = peer(tls=ours.settings("a.example"))
    a.call(b.hop("tls"))
    await a.told(InviteFailed)
    careless = peer(tls=ours.settings("a.example", verifies_servers=False))
    await call_through(careless, b, b.hop("tls"))


async def test_client_certificate_is_wanted_and_checked(peer: Callable[..., Peer], tmp_path: Path) -> None:
    ours, theirs = Authority(tmp_path), Authority(tmp_path, "theirs")
    b = peer(tls=ours.settings("127.0.0.1", wants_client_certificates=True))
    stranger = peer(tls=theirs.settings("a.example", trusts=ours))
    stranger.call(b.hop("tls"))
    failed = await stranger.told(InviteFailed)
    assert isinstance(failed, InviteFailed)
    assert failed.status == 503
    friend = peer(tls=ours.settings("a.example"))
    await call_through(friend, b, b.hop("tls"))


async def test_plain_text_on_the_tls_port_disturbs_nobody(peer: Callable[..., Peer], tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    b = peer(tls=authority.settings("127.0.0.1"))
    _, writer = await asyncio.open_connection(*b.tls.address)
    writer.write(OPTIONS % (1, 1))
    a = peer(tls=authority.settings("a.example"))
    await call_through(a, b, b.hop("tls"))
    writer.close()


async def test_closed_endpoint_leaves_no_connection(peer: Callable[..., Peer]) -> None:
    a, b = peer(hangs_up=False), peer()
    a.call(b.hop("tcp"))
    await a.told(InviteAnswered)
    a.endpoint.close()
    await until(lambda: b.tcp.connections == 0)
    assert a.tcp.connections == 0


async def test_contact_by_a_transport_that_is_not_served_is_met_where_the_call_came_from(
    peer: Callable[..., Peer],
) -> None:
    a, b = peer(tcp=False), peer()
    invite = (
        "INVITE sip:b@x SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK1;rport\r\nFrom: <sip:a@x>;tag=1\r\n"
        "To: <sip:b@x>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\nContact: <sip:127.0.0.1:9;transport=tcp>\r\n"
        "Content-Length: 0\r\n\r\n"
    )
    now = asyncio.get_running_loop().time()
    a.agent.receive_datagram(invite.encode(), b.hop("udp"), now)
    (session,) = a.agent.sessions.values()
    assert session.hop == b.hop("udp")


async def test_call_that_rings_outlives_its_connection(peer: Callable[..., Peer]) -> None:
    a = peer()

    async def ring(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
        kept = [line for line in lines if line.startswith((b"Via", b"From", b"To", b"Call-ID", b"CSeq"))]
        head = b"\r\n".join([b"SIP/2.0 180 Ringing", *kept, b"Content-Length: 0", b"", b""])
        writer.write(head.replace(b"To: <sip:b@x>", b"To: <sip:b@x>;tag=b"))
        writer.close()

    server = await asyncio.start_server(ring, "127.0.0.1", 0)
    a.call(Hop("tcp", *server.sockets[0].getsockname()))
    await a.told(InviteProgress)
    await until(lambda: a.tcp.connections == 0)
    assert not any(isinstance(event, InviteFailed) for event in a.events)
    server.close()


def _without_certificate(authority: Authority) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority.file)
    context.check_hostname = False
    return context


async def test_client_without_certificate_is_sent_away_where_one_is_wanted(
    peer: Callable[..., Peer], tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    b = peer(tls=authority.settings("127.0.0.1", wants_client_certificates=True))
    async with asyncio.timeout(5):
        with suppress(OSError):
            reader, writer = await asyncio.open_connection(*b.tls.address, ssl=_without_certificate(authority))
            writer.write(OPTIONS % (1, 1))
            assert await reader.read() == b""
    assert not b.events


async def test_client_without_certificate_cannot_take_the_calls_of_a_port(
    peer: Callable[..., Peer], tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    b = peer(tls=authority.settings("127.0.0.1"))
    reader, writer = await asyncio.open_connection(*b.tls.address, ssl=_without_certificate(authority))
    writer.write((OPTIONS % (1, 1)).replace(b"127.0.0.1:9;", b"127.0.0.1:5061;alias;"))
    async with asyncio.timeout(5):
        assert (await reader.readline()).startswith(b"SIP/2.0 200 ")
    assert Hop("tls", "127.0.0.1", 5061) not in b.tls._connections
    assert b.tls.connections == 1
    writer.close()
