"""The byte part of StoreService."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import google_crc32c
import grpc

from librarian.api.store.v1 import store_pb2, store_pb2_grpc
from librarian.errors import ChunkCorrupt, OffsetMismatch, Unavailable, UploadNotFound
from librarian.manifests import MemberKind
from support.client_site.state import STORE, State, is_file

Context = grpc.aio.ServicerContext[Any, Any]
CHUNK = 1 << 18


class Store(store_pb2_grpc.StoreServiceServicer):
    def __init__(self, state: State, *, offer_path: bool = True) -> None:
        self._state = state
        self.offer_path = offer_path

    async def ListStores(  # noqa: N802
        self, request: store_pb2.ListStoresRequest, context: Context
    ) -> store_pb2.ListStoresResponse:
        await self._state.enter("ListStores", context)
        usage = store_pb2.StoreUsage(capacity_bytes=10**12, grantable_bytes=10**11)
        store = store_pb2.Store(
            name=STORE, root="/data/main", store_class=store_pb2.STORE_CLASS_ONLINE, enabled=True,
            ingestible=True, usage=usage,
        )  # fmt: skip
        return store_pb2.ListStoresResponse(stores=[store])

    async def WriteUpload(  # noqa: N802
        self, request_iterator: AsyncIterator[store_pb2.WriteUploadRequest], context: Context
    ) -> store_pb2.WriteUploadResponse:
        await self._state.enter("WriteUpload", context)
        cut = self._state.break_after.pop(0) if self._state.break_after else None
        count = written = 0
        async for message in request_iterator:
            if cut is not None and count == cut:
                await self._state.abort(context, Unavailable("the line is cut"))
            await self._write(message, context)
            count += 1
            self._state.written_messages += 1
            written += len(message.data)
        return store_pb2.WriteUploadResponse(written_bytes=written, member_count=count)

    async def _write(self, message: store_pb2.WriteUploadRequest, context: Context) -> None:
        upload = self._state.uploads.get(message.upload_id)
        if upload is None:
            await self._state.abort(context, UploadNotFound("there is no such upload"))
            raise AssertionError
        if message.data and google_crc32c.value(message.data) != message.crc32c:
            await self._state.abort(context, ChunkCorrupt("crc32c differs"))
        path = upload.path / message.path if message.path else upload.path
        path.parent.mkdir(parents=True, exist_ok=True)
        if message.kind == MemberKind.SYMLINK:
            path.unlink(missing_ok=True)
            path.symlink_to(message.link_target)
        elif message.kind == MemberKind.DIRECTORY:
            path.mkdir(exist_ok=True)
        else:
            size = path.stat().st_size if path.exists() else 0
            if message.offset > size:
                await self._state.abort(context, OffsetMismatch(f"{size} bytes are here"))
            with path.open("r+b" if path.exists() else "wb") as file:
                file.seek(message.offset)
                file.write(message.data)
            if message.last:
                os.utime(path, ns=(message.mtime_ns, message.mtime_ns))
        if message.last:
            upload.complete.add(message.path)

    async def GetUpload(  # noqa: N802
        self, request: store_pb2.GetUploadRequest, context: Context
    ) -> store_pb2.GetUploadResponse:
        await self._state.enter("GetUpload", context)
        upload = self._state.uploads[request.upload_id]
        paths = _files_below(upload.path)
        start = int(request.page_token or 0)
        page = paths[start : start + 2]
        more = start + 2 < len(paths)
        return store_pb2.GetUploadResponse(
            state=store_pb2.UPLOAD_STATE_OPEN,
            files=[
                store_pb2.UploadedFile(
                    path=path,
                    persisted_bytes=(upload.path / path if path else upload.path).lstat().st_size,
                    complete=path in upload.complete,
                )
                for path in page
            ],
            next_page_token=str(start + 2) if more else "",
        )

    async def BeginRead(  # noqa: N802
        self, request: store_pb2.BeginReadRequest, context: Context
    ) -> store_pb2.BeginReadResponse:
        await self._state.enter("BeginRead", context)
        kept = self._state.kept / request.uid
        identity = self._state.root / "identity.json"
        identity.write_text('{"store_uid": "this one"}')
        return store_pb2.BeginReadResponse(
            grant=store_pb2.ReadGrant(
                store=STORE,
                path=str(kept) if self.offer_path else "",
                proof_path=str(identity) if self.offer_path else "",
                store_uid="this one",
                ticket="a read ticket",
                data_address=self._state.door_address if self._state.offer_door else "",
            )
        )

    async def ReadDataset(  # noqa: N802
        self, request: store_pb2.ReadDatasetRequest, context: Context
    ) -> AsyncIterator[store_pb2.ReadDatasetResponse]:
        await self._state.enter("ReadDataset", context)
        cut = self._state.break_reads.pop(0) if self._state.break_reads else None
        count = 0
        for index, wanted in enumerate(request.ranges):
            kept = self._state.kept / request.uid
            data = (kept / wanted.path if wanted.path else kept).read_bytes()
            offset = wanted.offset
            while True:
                if cut is not None and count == cut:
                    await self._state.abort(context, Unavailable("the line is cut"))
                count += 1
                chunk = data[offset : offset + CHUNK]
                last = offset + len(chunk) >= len(data)
                yield store_pb2.ReadDatasetResponse(
                    range=index, offset=offset, data=chunk, crc32c=google_crc32c.value(chunk), last=last
                )
                offset += len(chunk)
                if last:
                    break


def _files_below(root: Path) -> list[str]:
    if not root.is_dir():
        return [""] if root.exists() else []
    found = [path for path in root.rglob("*") if path.is_symlink() or path.is_file()]
    assert is_file(MemberKind.FILE)
    return sorted(str(path.relative_to(root)) for path in found)
