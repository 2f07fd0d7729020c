"""Hashing and copying files and trees with all cores: one door to `filehash` and `filecopy`."""

from librarian.filecopy import CopyResult, copy_and_hash, copy_tree
from librarian.filehash import (
    Progress,
    hash_descriptor,
    hash_file,
    hash_tree,
    hash_walked,
    stream_chunks,
)

__all__ = [
    "CopyResult",
    "Progress",
    "copy_and_hash",
    "copy_tree",
    "hash_descriptor",
    "hash_file",
    "hash_tree",
    "hash_walked",
    "stream_chunks",
]
