"""Recordings by signed link: for a while, one file, for whoever has the link, such as a browser's audio player.

Where it lies, on the disk or in the storage, makes no difference to who listens.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
from typing import IO, Annotated, Any

import structlog
from litestar import Request, route
from litestar.exceptions import HTTPException, NotFoundException, PermissionDeniedException
from litestar.params import FromPath, QueryParameter
from litestar.types import ASGIApp, Receive, Scope, Send

from admin_api.common.auth import PUBLIC
from admin_api.common.context import Context, GivenContext
from engine.archive.bucket import Bucket, StorageFault
from engine.archive.disk import Disk
from engine.store.database import reading
from engine.store.records.cdr_store import AnyRow, read_recording
from engine.store.records.recording_store import Place
from engine.store.scope import Platform

CHUNK_OCTETS = 256 * 1024
"""Read and sent at once; a recording is about 1.9 MB a minute."""

_log = structlog.get_logger(__name__)

_CDR_ID = re.compile(r"[A-Za-z0-9._-]{1,32}", re.ASCII)


def _signature(context: Context, cdr_id: str, expires_at_ms: int) -> str:
    return hmac.new(context.link_key, f"{cdr_id}\n{expires_at_ms}".encode(), hashlib.sha256).hexdigest()


def recording_link(context: Context, cdr_id: str) -> tuple[str, int]:
    """A link to a call's recording, and when it ends, in milliseconds. Ask ``read_recording`` with a scope first."""
    expires_at_ms = context.now_ms() + context.settings.recording_link_seconds * 1000
    return f"/recordings/{cdr_id}?expires={expires_at_ms}&signature={_signature(context, cdr_id, expires_at_ms)}", (
        expires_at_ms
    )


def _check_link(context: Context, cdr_id: str, expires: str, signature: str) -> None:
    if not re.fullmatch(r"[0-9]{1,15}", expires, re.ASCII) or _CDR_ID.fullmatch(cdr_id) is None:
        raise PermissionDeniedException("the link is not valid")
    expected = _signature(context, cdr_id, int(expires))
    if not hmac.compare_digest(expected.encode(), signature.encode()):
        raise PermissionDeniedException("the link is not valid")
    if int(expires) <= context.now_ms():
        raise PermissionDeniedException("the link has expired")


def open_bucket(url: str) -> Bucket | None:
    """The storage that the settings name; None where there is none, or none that can be used: the rest of the API
    goes on."""
    try:
        return Bucket(url) if url else None
    except StorageFault as error:
        _log.error("recordings.storage cannot be used", error=str(error))
        return None


def _open(context: Context, recording: AnyRow) -> tuple[IO[bytes], int]:
    """The file and its size in octets. NotFoundException where it is not, HTTPException 503 where its storage is away.

    A recording may be carried away between the look at its row and the opening: then it is in the other place.
    """
    try:
        if recording.place in (Place.DISK, Place.BOTH):
            try:
                return _open_on_disk(context, recording.path)
            except FileNotFoundError:
                return _open_in_storage(context, recording.path)
        return _open_in_storage(context, recording.path)
    except StorageFault as error:
        _log.error("the recordings' storage cannot be read", error=str(error))
        raise HTTPException(status_code=503, detail="the recordings' storage does not answer") from error
    except OSError as error:  # what cannot be a file's name, too
        raise NotFoundException("there is no such recording") from error


def _open_on_disk(context: Context, path: str) -> tuple[IO[bytes], int]:
    file = Disk(context.recordings_folder).at(path)
    if not file.is_file():
        raise FileNotFoundError(path)
    return file.open("rb"), file.stat().st_size


def _open_in_storage(context: Context, path: str) -> tuple[IO[bytes], int]:
    bucket = context.recordings_bucket
    if bucket is None:
        raise FileNotFoundError(path)
    return bucket.open(path), bucket.size_octets(path)


def byte_range(header: str | None, size_octets: int) -> tuple[int, int] | None:
    """First and last octet that a Range header asks for (RFC 9110 §14.1.2), None for the whole.

    What is no single range of octets is ignored (§14.2); HTTPException 416 where no octet is in it.
    """
    match = re.fullmatch(r"bytes=\s*([0-9]{0,18})-([0-9]{0,18})\s*", header or "", re.ASCII | re.IGNORECASE)
    if match is None or not any(match.groups()):
        return None
    first_text, last_text = match.groups()
    if not first_text:
        first, last = max(0, size_octets - int(last_text)), size_octets - 1
    else:
        first = int(first_text)
        last = min(int(last_text), size_octets - 1) if last_text else size_octets - 1
        if last_text and int(last_text) < first:
            return None
    if first >= size_octets or first > last:
        raise HTTPException(
            status_code=416, detail="no octet is in the range", headers={"Content-Range": f"bytes */{size_octets}"}
        )
    return first, last


@route(
    "/recordings/{cdr_id:str}",
    http_method=["GET", "HEAD"],
    opt={PUBLIC: True},
    summary="A recording as WAV, whole or a range of it, by its signed link",
    tags=["calls"],
)
async def serve_recording(
    request: Request[Any, Any, Any],
    context: GivenContext,
    cdr_id: FromPath[str],
    expires: Annotated[str, QueryParameter(max_length=15)] = "",
    signature: Annotated[str, QueryParameter(max_length=64)] = "",
) -> ASGIApp:
    _check_link(context, cdr_id, expires, signature)
    async with reading(context.database) as connection:
        recording = await read_recording(connection, Platform(), cdr_id)
    if recording is None:
        raise NotFoundException("there is no such recording")
    file, size_octets = await asyncio.to_thread(_open, context, recording)
    try:
        wanted = byte_range(request.headers.get("range"), size_octets)
    except HTTPException:
        file.close()
        raise

    async def answer(_scope: Scope, _receive: Receive, send: Send) -> None:
        try:
            await _send_head(send, cdr_id, wanted, size_octets)
            first, last = wanted or (0, size_octets - 1)
            if request.method == "HEAD":
                await send({"type": "http.response.body", "body": b"", "more_body": False})
            else:
                await _send_body(send, file, first, last + 1 - first)
        finally:
            await asyncio.to_thread(file.close)

    return answer


async def _send_head(send: Send, cdr_id: str, wanted: tuple[int, int] | None, size_octets: int) -> None:
    first, last = wanted or (0, size_octets - 1)
    headers = [
        (b"content-type", b"audio/wav"),
        (b"content-length", str(last + 1 - first).encode()),
        (b"accept-ranges", b"bytes"),
        # A conversation: no cache may keep it, and no page may be told where it was.
        (b"cache-control", b"private, no-store"),
        (b"referrer-policy", b"no-referrer"),
        (b"x-content-type-options", b"nosniff"),
        (b"content-disposition", f'inline; filename="{cdr_id}.wav"'.encode()),
    ]
    if wanted is not None:
        headers.append((b"content-range", f"bytes {first}-{last}/{size_octets}".encode()))
    await send({"type": "http.response.start", "status": 206 if wanted else 200, "headers": headers})


async def _send_body(send: Send, file: IO[bytes], first: int, count: int) -> None:
    await asyncio.to_thread(file.seek, first)
    while count > 0:
        chunk = await asyncio.to_thread(file.read, min(count, CHUNK_OCTETS))
        if not chunk:
            break  # cut short meanwhile; the client sees that octets are missing
        count -= len(chunk)
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
