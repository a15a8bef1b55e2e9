"""Digest authentication against the RFCs' own vectors, and against replays."""

from __future__ import annotations

import dataclasses

import pytest

from sip.core.digest import (
    Credentials,
    DigestAuthenticator,
    Verdict,
    authorize,
    digest_ha1,
    digest_response,
    parse_credentials,
)
from sip.errors import PeerFault

HA1 = {algorithm: digest_ha1(algorithm, "bob", "axb", "zanzibar") for algorithm in ("MD5", "SHA-256")}


def test_vectors_of_rfc_7616_and_2617() -> None:
    nonce = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"
    cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
    for algorithm, expected in (
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ):  # RFC 7616 §3.9.1
        ha1 = digest_ha1(algorithm, "Mufasa", "http-auth@example.org", "Circle of Life")
        assert digest_response(algorithm, ha1, "GET", "/dir/index.html", nonce, "00000001", cnonce, "auth") == expected
    # RFC 2617 §3.5
    ha1 = digest_ha1("MD5", "Mufasa", "testrealm@host.com", "Circle Of Life")
    nonce = "dcd98b7102dd2f0e8b11d0f600bfb0c093"
    assert digest_response("MD5", ha1, "GET", "/dir/index.html", nonce, "00000001", "0a4f113b", "auth") == (
        "6629fae49393a05397450978507c4ef1"
    )


def credentials(server: DigestAuthenticator, now: float, *, count: int = 1, pick: int = 0) -> Credentials:
    challenge = server.challenges("token", now)[pick]
    value = authorize([challenge], HA1, "bob", "REGISTER", "sip:axb", "cn", count)
    assert value is not None
    parsed = parse_credentials(value, "Authorization")
    assert parsed is not None
    return parsed


@pytest.mark.parametrize("pick", [0, 1])
def test_right_secret_is_granted_once_for_each_count(pick: int) -> None:
    server = DigestAuthenticator("axb", b"key")
    given = credentials(server, 100.0, pick=pick)
    ha1 = HA1[given.algorithm]
    assert server.verify(given, ha1, "REGISTER", 101.0) is Verdict.GRANTED
    assert server.verify(given, ha1, "REGISTER", 102.0) is Verdict.STALE
    assert server.verify(credentials(server, 100.0, count=2, pick=pick), ha1, "REGISTER", 103.0) is Verdict.GRANTED
    assert server.verify(given, ha1, "REGISTER", 104.0) is Verdict.STALE


def test_old_nonce_is_stale_and_foreign_or_forged_nonce_too() -> None:
    server = DigestAuthenticator("axb", b"key", nonce_seconds_max=300)
    given = credentials(server, 100.0)
    assert server.verify(given, HA1["SHA-256"], "REGISTER", 402.0) is Verdict.STALE
    other = credentials(DigestAuthenticator("axb", b"other key"), 100.0)
    assert server.verify(other, HA1["SHA-256"], "REGISTER", 101.0) is Verdict.STALE
    assert "stale=true" in server.challenges("t", 402.0, stale=True)[0]


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({"response": "0" * 64}, Verdict.DENIED),
        ({"uri": "sip:elsewhere"}, Verdict.DENIED),
        ({"nonce_count": "1"}, Verdict.DENIED),
        ({"nonce_count": "zzzzzzzz"}, Verdict.DENIED),
        ({"cnonce": ""}, Verdict.DENIED),
        ({"qop": "auth-int"}, Verdict.DENIED),
        ({"algorithm": "MD5-SESS"}, Verdict.DENIED),
        ({"realm": "other"}, Verdict.MISSING),
    ],
)
def test_anything_tampered_with_is_refused(change: dict[str, str], verdict: Verdict) -> None:
    server = DigestAuthenticator("axb", b"key")
    given = dataclasses.replace(credentials(server, 100.0), **change)
    assert server.verify(given, HA1["SHA-256"], "REGISTER", 101.0) is verdict


def test_unknown_user_and_other_method_are_denied() -> None:
    server = DigestAuthenticator("axb", b"key")
    given = credentials(server, 100.0)
    assert server.verify(given, None, "REGISTER", 101.0) is Verdict.DENIED
    assert server.verify(given, HA1["SHA-256"], "INVITE", 101.0) is Verdict.DENIED
    assert server.verify(None, None, "REGISTER", 101.0) is Verdict.MISSING


def test_unknown_user_is_not_let_in_by_an_empty_ha1() -> None:
    server = DigestAuthenticator("axb", b"key")
    given = credentials(server, 100.0)
    forged = digest_response("SHA-256", "", "REGISTER", given.uri, given.nonce, "00000001", given.cnonce, "auth")
    given = dataclasses.replace(given, response=forged)
    assert server.verify(given, None, "REGISTER", 101.0) is Verdict.DENIED


def test_nonce_pushed_out_of_the_full_table_cannot_be_replayed() -> None:
    server = DigestAuthenticator("axb", b"key", nonces_tracked_max=1)
    first = credentials(server, 100.0)
    assert server.verify(first, HA1["SHA-256"], "REGISTER", 101.0) is Verdict.GRANTED
    second = credentials(server, 110.0)
    assert server.verify(second, HA1["SHA-256"], "REGISTER", 111.0) is Verdict.GRANTED
    assert server.verify(first, HA1["SHA-256"], "REGISTER", 112.0) is Verdict.STALE


def test_client_takes_the_first_challenge_it_can_meet() -> None:
    challenges = [
        'Digest realm="r", nonce="n", algorithm=SHA-512-256, qop="auth"',
        'Digest realm="r", nonce="n", algorithm=MD5, qop="auth-int,auth", opaque="o"',
    ]
    value = authorize(challenges, {"MD5": "0" * 32}, "bob", "REGISTER", "sip:r", "cn")
    assert value is not None
    assert 'opaque="o"' in value
    assert "qop=auth, nc=00000001" in value
    assert authorize(challenges[:1], {"MD5": "0" * 32}, "bob", "REGISTER", "sip:r", "cn") is None


def test_malformed_credentials_are_the_peers_fault() -> None:
    assert parse_credentials("Basic abc", "Authorization") is None
    for value in ("Digest nonsense", "Digest " + "x" * 5000):
        with pytest.raises(PeerFault):
            parse_credentials(value, "Authorization")
