"""Messages of WriteUpload as bytes, made where the data is read: putting a megabyte into a message object
and serialising that costs two more copies of it, on the event loop.
"""

from __future__ import annotations

import google_crc32c

from librarian.api.store.v1 import store_pb2

CHUNK_BYTES = 1 << 20
# Field 5, `data`, length-delimited.
_DATA_TAG = bytes([5 << 3 | 2])


def frame(header: store_pb2.WriteUploadRequest, data: bytes) -> bytes:
    """The serialised header with `data` and its crc32c in it; any order of fields is legal."""
    if not data:
        return header.SerializeToString()
    header.crc32c = google_crc32c.value(data)
    return b"".join((header.SerializeToString(), _DATA_TAG, _varint(len(data)), data))


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)
