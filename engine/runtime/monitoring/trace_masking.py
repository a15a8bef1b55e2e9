"""A SIP message as an operator may read it: telephone numbers as 138****1234, and nothing that proves who one is.

Rather too much is masked than too little: every run of 7 to 15 digits in the headers goes, also where it is a part of
a Call-ID or a tag. SDP is kept but for the user's name in ``o=`` (some phones write their number there), what is
written for people to read, and the keys of SRTP and ICE.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from engine.domain.lines.number import mask

_DIGIT_RUN = re.compile(r"(?<![0-9A-Za-z])\+?[0-9]{7,15}(?![0-9A-Za-z])")
_MAINLAND_MOBILE = re.compile(r"(?<![0-9])(?:86)?1[3-9][0-9]{9}(?![0-9])")
"""Masked inside a longer word too: ``agent13812341234`` is a user name that somebody chose."""
_URI_USER = re.compile(r"\b((?:sips?|tel):)([^@;>\s,?\"]{3,128})", re.IGNORECASE)
_DIGEST_PROOF = re.compile(r"\b(response|rspauth|cnonce)(\s*=\s*)(\"[^\"]*\"|[^\s,]*)", re.IGNORECASE)
_BASIC_PROOF = re.compile(r"(?im)^((?:proxy-)?authorization[ \t]*:[ \t]*(?!digest\b)\S+)[ \t].*$")
_SDP_ORIGIN_USER = re.compile(r"(?m)^o=\S+")
_SDP_PROSE = re.compile(r"(?m)^([siuep]=).+$")
_SDP_KEY = re.compile(r"(?m)^(a=crypto:.*?inline:|a=ice-pwd:|k=[a-z]+:?)[^\s|;]*")
_DTMF = re.compile(r"(?im)^(signal[ \t]*=[ \t]*)\S+")
_DTMF_ALONE = re.compile(r"(?i)\s*[0-9A-D*#]\s*")
_SEPARATORS = str.maketrans("", "", "-.() ")
_MOBILE_WITH_CODE = re.compile(r"(?:\+|00)?86(1[3-9][0-9]{9})")
_NUMBER = re.compile(r"\+?[0-9]{7,15}")


def masked_message(data: bytes) -> str:
    """The message as text; what is not UTF-8 shows as ``�``."""
    head, blank, body = data.decode("utf-8", "replace").partition("\r\n\r\n")
    return _masked_head(head) + blank + _masked_body(body)


def without_secrets(data: bytes) -> bytes:
    """The message with its telephone numbers, but without digests and keys; what is not UTF-8 comes out changed."""
    head, blank, body = data.decode("utf-8", "replace").partition("\r\n\r\n")
    return (_without_proofs(head) + blank + _SDP_KEY.sub(r"\1…", body)).encode()


def first_line(text: str) -> str:
    """A message's first line, of a masked message already masked."""
    return text.partition("\r\n")[0]


def _masked_head(head: str) -> str:
    return _masked_numbers(_URI_USER.sub(_mask_user, _without_proofs(head)))


def _without_proofs(head: str) -> str:
    head = _DIGEST_PROOF.sub(lambda match: f'{match[1]}{match[2]}""', head)
    return _BASIC_PROOF.sub(r"\1 …", head)


def _masked_body(body: str) -> str:
    if _DTMF_ALONE.fullmatch(body):
        return "*"  # application/dtmf
    if not body.startswith("v="):
        return _masked_numbers(_DTMF.sub(r"\1*", body))
    body = _SDP_ORIGIN_USER.sub("o=-", body)
    body = _SDP_PROSE.sub(r"\1-", body)
    return _SDP_KEY.sub(r"\1…", body)


def _masked_numbers(text: str) -> str:
    return _MAINLAND_MOBILE.sub(_mask_match, _DIGIT_RUN.sub(_mask_match, text))


def _mask_match(match: re.Match[str]) -> str:
    return _mask(match[0])


def _mask(number: str) -> str:
    """One number has one mask, with country code or without."""
    mobile = _MOBILE_WITH_CODE.fullmatch(number)
    return mask(mobile[1] if mobile else number)


def _mask_user(match: re.Match[str]) -> str:
    """A number with visual separators (RFC 3966 §5.1.1) or in escapes (RFC 3261 §19.1.2) is a number all the same."""
    plain = unquote(match[2]).translate(_SEPARATORS)
    return match[1] + _mask(plain) if _NUMBER.fullmatch(plain) else match[0]
