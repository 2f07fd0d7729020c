"""Datasets that came from elsewhere: one uid over several attempts, a copy on each of several stores."""

from __future__ import annotations

import json
import shutil
import uuid
from dataclasses import replace

from sqlalchemy import text
from store_lab import Lab, a_file, a_tree, claims_of, stage

from librarian.checksums import Checksum
from librarian.errors import PathHeldByUpload, PathTaken, UidTaken, UploadActive, UploadConfirmed
from librarian.hashing import hash_file
from store_svc.adoptable import Adopted, ToAdopt
from store_svc.adopting import adopt_trees
from store_svc.lifecycle import UploadState
from store_svc.reading import read_manifest
from store_svc.recovery import Recovery
from store_svc.replicas import Verdict, verify_replica
from store_svc.scanning import scan_store

BOOK = {"a/x": b"x" * 300_000, "empty/": b"", "z": b"z"}


def a_uid() -> str:
    return str(uuid.uuid4())


def sidecar_of(lab: Lab, uid: str, root: str = "") -> dict[str, object] | None:
    path = (lab.root.parent / root if root else lab.root) / f".librarian/sidecars/{uid[-2:]}/{uid}.json"
    return json.loads(path.read_text()) if path.exists() else None


async def adopted(lab: Lab, *wanted: ToAdopt, store: str = "main") -> dict[str, Adopted]:
    found = {}
    async for progress in adopt_trees(lab.kit, store, wanted, "sha256"):
        found |= {tree.name: tree for tree in progress.trees}
    return found


async def verdict(lab: Lab, uid: str, store: str = "main") -> Verdict:
    async for progress in verify_replica(lab.kit, store, uid):
        report = progress.report
    assert report is not None
    return report.verdict


async def manifest(lab: Lab, uid: str, store: str = "main") -> list[str]:
    return [member.path async for page in read_manifest(lab.kit, store, uid, "") for member in page]


def reasons(verdicts: dict[str, Adopted]) -> dict[str, str]:
    return {name: each.error.reason for name, each in verdicts.items() if each.error is not None}


async def held_count(lab: Lab, name: str = "main") -> tuple[int, int]:
    store = await lab.kit.store(name)
    return store.held_count, store.held_bytes


async def test_a_dataset_keeps_its_uid(lab: Lab) -> None:
    """Sidecar, holding and manifest go by the dataset's uid, the calls about the attempt by its own id."""
    uid = a_uid()
    first = await lab.put("b", BOOK, dataset_uid=uid)
    assert (first.state, first.upload_id == uid) == (UploadState.COMMITTED, False)
    told = sidecar_of(lab, uid)
    assert told is not None
    assert (told["uid"], told["name"], sidecar_of(lab, first.upload_id)) == (uid, "b", None)
    assert await manifest(lab, uid) == ["a/x", "empty", "z"]
    committer = lab.house.committer
    assert await committer.confirm("main", [first.upload_id]) == {}
    assert await committer.confirm("main", [first.upload_id]) == {}
    claims = {first.upload_id: claims_of(lab.root / "b", BOOK)}
    assert (await lab.commit(claims))[first.upload_id].state is UploadState.CONFIRMED
    errors = await committer.abort("main", [first.upload_id], idle_seconds=0)
    assert isinstance(errors[first.upload_id], UploadConfirmed)
    assert await verdict(lab, uid) is Verdict.AVAILABLE
    # Nobody takes the dataset for the attempt, nor the attempt for the dataset.
    unknown = await committer.confirm("main", [uid])
    assert [error.reason for error in unknown.values()] == ["UPLOAD_NOT_FOUND"]
    second = a_tree("elsewhere", BOOK, dataset_uid=uid)
    assert isinstance((await lab.begin(second)).errors[second.upload_id], UidTaken)
    again = a_tree("b", BOOK, dataset_uid=uid)
    refused = (await lab.begin(again)).errors[again.upload_id]
    assert isinstance(refused, PathTaken)
    assert refused.metadata["uid"] == uid


async def test_one_attempt_at_a_time(lab: Lab) -> None:
    uid = a_uid()
    first, second = (a_file("f", b"abc", dataset_uid=uid) for _ in range(2))
    begun = await lab.begin(first, second)
    error = begun.errors[second.upload_id]
    assert isinstance(error, UploadActive)
    assert error.metadata["upload_id"] == first.upload_id
    assert first.upload_id not in begun.errors
    assert not (await lab.begin(first)).errors
    assert await lab.reserved() == 3
    other = replace(first, dataset_uid=a_uid())
    assert (await lab.begin(other)).errors[first.upload_id].reason == "UPLOAD_CLOSED"
    # By adoption neither, whatever lies there.
    (lab.root / "elsewhere").write_bytes(b"abc")
    assert reasons(await adopted(lab, ToAdopt("elsewhere", uid))) == {"elsewhere": "UPLOAD_ACTIVE"}
    # A store of its own is another matter.
    await lab.add("other", lab.root.parent / "other")
    assert (await lab.put("f", b"abc", dataset_uid=uid, store="other")).state is UploadState.COMMITTED
    # Given up, it makes room for the next.
    await lab.house.committer.abort("main", [first.upload_id], idle_seconds=0)
    assert (await lab.put("f", b"abc", dataset_uid=uid)).state is UploadState.COMMITTED
    # The row of what was given up stays a while, and disturbs nobody.
    assert await lab.house.committer.abort("main", [first.upload_id], idle_seconds=0) == {}
    await Recovery(lab.kit, lab.house.committer).run_once()
    assert await verdict(lab, uid) is Verdict.AVAILABLE
    assert sidecar_of(lab, uid) is not None


async def test_an_attempt_that_fails_leaves_the_records_of_what_is_held(lab: Lab) -> None:
    """Its bytes were gone, and come again; the first attempt brings others."""
    uid = a_uid()
    held = await lab.put("d/f", b"abc", dataset_uid=uid)
    await lab.house.committer.confirm("main", [held.upload_id])
    shutil.rmtree(lab.root / "d")
    assert await verdict(lab, uid) is Verdict.MISSING
    spec = a_file("d/f", b"abc", dataset_uid=uid)
    stage(lab.staged(await lab.begin(spec), spec.upload_id), b"abd")
    failed = (await lab.commit({spec.upload_id: claims_of(lab.root, b"abc")}))[spec.upload_id]
    assert failed.state is UploadState.FAILED
    assert sidecar_of(lab, uid) is not None
    assert await held_count(lab) == (1, 3)
    again = await lab.put("d/f", b"abc", dataset_uid=uid)
    assert again.state is UploadState.COMMITTED
    assert await held_count(lab) == (1, 3)
    assert await verdict(lab, uid) is Verdict.AVAILABLE
    await lab.house.committer.abort("main", [again.upload_id], idle_seconds=0)
    assert await held_count(lab) == (0, 0)
    assert (sidecar_of(lab, uid), lab.left_over()) == (None, [])


async def test_a_path_held_by_an_attempt_names_the_attempt(lab: Lab) -> None:
    uid = a_uid()
    first = await lab.put("same", b"same", dataset_uid=uid)
    second = await lab.put("same", b"same")
    assert isinstance(second.error, PathHeldByUpload)
    assert second.error.metadata["upload_id"] == first.upload_id
    assert second.error.metadata["uid"] == uid
    await lab.house.committer.abort("main", [first.upload_id], idle_seconds=0)
    again = (await lab.commit({second.upload_id: claims_of(lab.root, b"same")}))[second.upload_id]
    assert again.state is UploadState.COMMITTED


async def test_a_copy_on_each_of_two_stores(lab: Lab) -> None:
    """Brought to one, adopted on the other; what becomes of one copy does not touch the other."""
    other = lab.root.parent / "other"
    await lab.add("other", other)
    put = await lab.put("b", BOOK)
    await lab.house.committer.confirm("main", [put.upload_id])
    shutil.copytree(lab.root / "b", other / "b")
    wanted = ToAdopt("b", put.upload_id, put.digest, '{"origin": "theirs"}')
    (tree,) = (await adopted(lab, wanted, store="other")).values()
    assert tree.holding is not None, tree.error
    assert (tree.holding.uid, tree.holding.digest, tree.already) == (put.upload_id, put.digest, False)
    told = sidecar_of(lab, put.upload_id, "other")
    assert told is not None
    assert told["facts"] == {"origin": "theirs"}
    assert await manifest(lab, put.upload_id, "other") == await manifest(lab, put.upload_id)
    (other / "b/z").write_bytes(b"?")
    assert await verdict(lab, put.upload_id, "other") is Verdict.CORRUPT
    assert await verdict(lab, put.upload_id) is Verdict.AVAILABLE
    for name in ("main", "other"):
        assert await held_count(lab, name) == (1, 300_001)
    (one,) = [f async for p in scan_store(lab.kit, "other") for f in p.findings]
    assert (one.reason.value, one.uid) == ("CHANGED", put.upload_id)
    (again,) = (await adopted(lab, wanted, store="other")).values()
    assert again.error is not None
    assert (again.error.reason, again.found == put.digest) == ("CHECKSUM_MISMATCH", False)


async def test_adopting_what_is_known_already(lab: Lab) -> None:
    digest = Checksum("sha256", bytes(32))
    (lab.root / "f").write_bytes(b"abc")
    (lab.root / "g").write_bytes(b"abc")
    (lab.root / "h").write_bytes(b"abc")
    right = hash_file(lab.root / "f", "sha256")
    uid, other = a_uid(), a_uid()
    (refused,) = (await adopted(lab, ToAdopt("f", uid, digest))).values()
    assert refused.error is not None
    assert (refused.error.reason, refused.found) == ("CHECKSUM_MISMATCH", right)
    assert (sidecar_of(lab, uid), await held_count(lab)) == (None, (0, 0))
    found = await adopted(lab, ToAdopt("f", uid, right), ToAdopt("g", "../../etc"), ToAdopt("h"))
    assert reasons(found) == {"g": "INVALID_INPUT"}
    # Again: the same. With another uid, or elsewhere: not.
    assert (await adopted(lab, ToAdopt("f", uid, right)))["f"].already
    assert (await adopted(lab, ToAdopt("f")))["f"].already
    assert reasons(await adopted(lab, ToAdopt("f", other))) == {"f": "PATH_TAKEN"}
    assert reasons(await adopted(lab, ToAdopt("g", uid))) == {"g": "UID_TAKEN"}
    assert reasons(await adopted(lab, ToAdopt("f", uid, digest))) == {"f": "CHECKSUM_MISMATCH"}
    # A copy that is to arrive finds it, too.
    spec = a_file("f", b"abc", dataset_uid=uid)
    assert isinstance((await lab.begin(spec)).errors[spec.upload_id], PathTaken)


async def test_adopting_after_the_books_were_lost(lab: Lab) -> None:
    """The database is of yesterday; the bytes and their sidecars are of today."""
    book, file = (await lab.put("b", BOOK)).upload_id, (await lab.put("f", b"abc")).upload_id
    changed = (await lab.put("changed", b"abc")).upload_id
    await lab.house.committer.confirm("main", [book, file, changed])
    async with lab.kit.database.transaction() as connection:
        await connection.execute(text("DELETE FROM holdings"))
    (lab.root / "moved").write_bytes(b"abc")
    (lab.root / "changed").write_bytes(b"other")
    spec = a_tree("b", BOOK, dataset_uid=book)
    refused = (await lab.begin(spec)).errors[spec.upload_id]
    assert isinstance(refused, PathTaken)
    assert "uid" not in refused.metadata
    found = await adopted(lab, ToAdopt("b", book), ToAdopt("moved", file), ToAdopt("changed", changed))
    assert reasons(found) == {"moved": "UID_TAKEN", "changed": "CHECKSUM_MISMATCH"}
    (lab.root / "f").unlink()
    assert reasons(await adopted(lab, ToAdopt("moved", file))) == {}
    assert [await verdict(lab, uid) for uid in (book, file)] == [Verdict.AVAILABLE] * 2
    told = sidecar_of(lab, changed)
    assert told is not None
    assert told["digest"] == str(hash_file(lab.root / "moved", "sha256"))


async def test_what_lies_there_is_told_before_anything_is_reserved(lab: Lab) -> None:
    (lab.root / "file").write_bytes(b"mine")
    (lab.root / "folder/inside").mkdir(parents=True)
    held = await lab.put("held", b"abc")
    await lab.house.committer.confirm("main", [held.upload_id])
    open_fate = await lab.put("open", b"abc")
    names = ["file", "folder", "folder/inside", "held", "open", "folder/new", "file/below", "new"]
    specs = {name: a_file(name, b"abc") for name in names}
    begun = await lab.begin(*specs.values())
    taken = {name for name, spec in specs.items() if isinstance(begun.errors.get(spec.upload_id), PathTaken)}
    assert taken == set(names[:4])
    assert set(begun.errors) == {specs[name].upload_id for name in taken}
    told = {name: begun.errors[specs[name].upload_id].metadata.get("uid") for name in taken}
    assert told == {name: held.upload_id if name == "held" else None for name in taken}
    assert await lab.reserved() == 12
    # What is open stays so when something is put in its way; the commit tells.
    (lab.root / "new").write_bytes(b"mine")
    assert not (await lab.begin(specs["new"])).errors
    assert open_fate.state is UploadState.COMMITTED


async def test_the_code_before_goes_on_with_the_schema(lab: Lab) -> None:
    """It names no column that is new: what it writes is read as what it meant."""
    spec = a_file("f", b"abc")
    await lab.begin(spec)
    async with lab.kit.database.transaction() as connection:
        columns = (
            "store, area, name, kind, algorithm, reserved_bytes, reserved_inodes, state, subject, begin_time,"
            " update_time"
        )
        assert (await connection.execute(text("SELECT dataset_uid FROM uploads"))).scalars().all() == [None]
        await connection.execute(
            text(
                f"INSERT INTO uploads (upload_id, {columns})"
                f" SELECT gen_random_uuid()::text, {columns} FROM uploads"
            )
        )
        ids = (await connection.execute(text("SELECT upload_id FROM uploads"))).scalars().all()
    (older,) = set(ids) - {spec.upload_id}
    second = a_file("g", b"abc", dataset_uid=older)
    error = (await lab.begin(second)).errors[second.upload_id]
    assert isinstance(error, UploadActive)
