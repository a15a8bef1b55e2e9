"""Fitting an answer to its offer (RFC 3264 §6), across payload types and the two laws of G.711."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import msgspec
from msgspec.structs import replace

from media.errors import MalformedSdp, NoCommonCodec
from media.sdp.description import CODECS_CACHED_MAX, NOT_VOICE, OTHER_LAW, STATIC_CODECS, Codec, Description

Laws = tuple[str, str]
"""PCMA and PCMU, or the other way round: from, to."""


class CommonCodecs(msgspec.Struct, frozen=True):
    """What two lists of codecs share, under the payload types of the offer, and payload types that differ.

    ``to_offerer`` and ``to_answerer`` map payload types of packets on their way to that side; the ``laws`` beside them
    say which of these (by the number they come with) must also be brought to the other law of G.711. Mostly empty.
    """

    codecs: tuple[Codec, ...]
    to_offerer: Mapping[int, int]
    to_answerer: Mapping[int, int]
    laws_to_offerer: Mapping[int, Laws]
    laws_to_answerer: Mapping[int, Laws]


class Agreement(msgspec.Struct, frozen=True):
    """What an answer settles: the description for the side that offered, and what both sides' codecs have in common."""

    description: Description
    common: CommonCodecs


def with_both_laws(offer: Description) -> Description:
    """An offer of one law of G.711 made one of both: the relay can bring each to the other."""
    audio = offer.audio
    codecs = _with_both_laws(audio.codecs)
    return offer if codecs is audio.codecs else offer.with_audio(replace(audio, codecs=codecs))


def agree(offer: Description, answer: Description) -> Agreement:
    """Fit an answer to its offer (RFC 3264 §6): codecs of both, under the payload types of the offer.

    Raises MalformedSdp where the streams do not match, NoCommonCodec where no codec for voice is left.
    """
    if len(answer.media) != len(offer.media):
        raise MalformedSdp("the answer has not as many media as the offer")
    offered, answered = offer.audio, answer.audio
    if answer.audio_index != offer.audio_index:
        raise MalformedSdp("the answer takes up another stream than the offer's")
    common = _common(offered.codecs, answered.codecs)
    return Agreement(offer.with_audio(replace(answered, codecs=common.codecs, profile=offered.profile)), common)


@lru_cache(CODECS_CACHED_MAX)
def _with_both_laws(codecs: tuple[Codec, ...]) -> tuple[Codec, ...]:
    present = {codec.encoding for codec in codecs if codec.kind[1:] == (8000, 1)} & set(OTHER_LAW)
    if len(present) != 1:
        return codecs
    missing = OTHER_LAW[present.pop()]
    payload_type = next(number for number, (encoding, _) in STATIC_CODECS.items() if encoding == missing)
    if any(codec.payload_type == payload_type for codec in codecs):
        return codecs
    last_voice = max(index for index, codec in enumerate(codecs) if codec.encoding not in NOT_VOICE)
    return (*codecs[: last_voice + 1], Codec(payload_type, missing, 8000), *codecs[last_voice + 1 :])


@lru_cache(CODECS_CACHED_MAX)
def _common(offered: tuple[Codec, ...], answered: tuple[Codec, ...]) -> CommonCodecs:
    """Raises NoCommonCodec."""
    by_kind: dict[tuple[str, int, int], Codec] = {}
    for codec in offered:
        by_kind.setdefault(codec.kind, codec)
    codecs: list[Codec] = []
    to_offerer: dict[int, int] = {}
    to_answerer: dict[int, int] = {}
    laws_to_offerer: dict[int, Laws] = {}
    laws_to_answerer: dict[int, Laws] = {}
    offered_types = {codec.payload_type for codec in offered}
    answered_kinds = {codec.kind for codec in answered}
    for codec in answered:
        twin = by_kind.get(codec.kind)
        if twin is None:
            other = by_kind.get((OTHER_LAW.get(codec.encoding, ""), 8000, 1))
            if other is None or codec.kind[1:] != (8000, 1):
                continue
            to_offerer[codec.payload_type] = other.payload_type
            laws_to_offerer[codec.payload_type] = (codec.encoding, other.encoding)
            if other.kind not in answered_kinds:
                to_answerer[other.payload_type] = codec.payload_type
                laws_to_answerer[other.payload_type] = (other.encoding, codec.encoding)
                codecs.append(other)
            continue
        codecs.append(replace(codec, payload_type=twin.payload_type))
        if twin.payload_type != codec.payload_type:
            to_answerer[twin.payload_type] = codec.payload_type
            # RFC 3264 §5.1 has the answerer send the offer's number; many send their own.
            if codec.payload_type not in offered_types:
                to_offerer[codec.payload_type] = twin.payload_type
    if all(codec.encoding in NOT_VOICE for codec in codecs):
        raise NoCommonCodec("the answer shares no codec for voice with the offer")
    return CommonCodecs(tuple(codecs), to_offerer, to_answerer, laws_to_offerer, laws_to_answerer)
