"""A tenant reaches our own network through us."""

import ipaddress
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from engine.webhooks.destination import DestinationRefused, check_url, destination_of, is_public, resolve

PRIVATE = (
    "127.0.0.1", "127.9.9.9", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
    "224.0.0.1", "255.255.255.255", "240.0.0.1", "198.18.0.1", "::1", "::", "fe80::1", "fc00::1", "fec0::1", "ff02::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "2002:7f00:1::", "64:ff9b::7f00:1", "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:db8::1",
)  # fmt: skip
PUBLIC = ("8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "114.114.114.114")


@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_address_is_taken_for_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))
    host = f"[{address}]" if ":" in address else address
    with pytest.raises(DestinationRefused):
        check_url(f"https://{host}/x", private_allowed=False)
    check_url(f"https://{host}/x", private_allowed=True)


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_taken_for_private(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "url",
    [
        "", "x", "ftp://x/", "file:///etc/passwd", "https://", "https:///x", "https://u:p@x/", "https://u@x/",
        "https://x/#f", "https://x:0/", "https://x:99999/", "https://x/\r\nHost: y", "https://x /", "https://[::1/",
        "https://é/", "https://x/" + "a" * 2000, "//x/", "gopher://x", "https://x\t/",
    ],
)  # fmt: skip
def test_what_is_no_plain_url_is_taken(url: str) -> None:
    with pytest.raises(DestinationRefused):
        destination_of(url)


def test_a_url_leads_elsewhere_than_it_says() -> None:
    found = destination_of("https://crm.example.com:8443/a?b=c&d=%20")
    assert (found.host, found.port, found.authority) == ("crm.example.com", 8443, "crm.example.com:8443")
    assert found.target == "/a?b=c&d=%20"
    assert destination_of("http://x").port == 80
    assert destination_of("https://x?q").target == "/?q"


@pytest.mark.parametrize("addresses", [["10.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["fe80::1%eth0"]])
async def test_a_public_name_of_a_private_address(monkeypatch: pytest.MonkeyPatch, addresses: list[str]) -> None:
    def look_up(*_: Any, **__: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with ThreadPoolExecutor(1) as threads:
        with pytest.raises(DestinationRefused):
            await resolve(destination_of("https://x"), threads, private_allowed=False)
        assert await resolve(destination_of("https://x"), threads, private_allowed=True)


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "127.1", "0177.0.0.1", "localhost"])
async def test_another_spelling_of_loopback(host: str) -> None:
    with ThreadPoolExecutor(1) as threads, pytest.raises((DestinationRefused, OSError)):
        await resolve(destination_of(f"https://{host}/"), threads, private_allowed=False)
