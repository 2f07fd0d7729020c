"""Promise 1: killed at the 1st, 2nd, 3rd … failpoint, then asked again, a commit ends in one outcome."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from store_lab import Lab, a_file, a_lab, a_tree, claims_of, stage
from store_lab.crashing import run_to_its_end

from store_svc.adoptable import ToAdopt
from store_svc.adopting import adopt_trees
from store_svc.filesystem import Feature
from store_svc.lifecycle import UploadState
from store_svc.records import Claims, UploadSpec
from store_svc.recovery import Recovery
from store_svc.replicas import Verdict, verify_replica
from store_svc.scanning import scan_store

LARGE = b"L" * 400_000
BOOK = {"a/large": LARGE, "a/small": b"s", "b/": b"", "c": b""}
EVERYTHING_REFUSED = (
    Feature.RENAME_NOREPLACE,
    Feature.HARD_LINKS,
    Feature.LEASES,
    Feature.CHOWN,
    Feature.REFLINK,
)


class Ingest:
    """A small file, a large one, a tree, and one whose claim is wrong, in one batch."""

    def __init__(self, n: int) -> None:
        self.names = {
            "small": f"{n}/small",
            "large": f"{n}/large",
            "book": f"{n}/book",
            "wrong": f"{n}/wrong",
        }
        self.ids: dict[str, str] = {}
        self.claims: dict[str, Claims] = {}

    async def begin(self, lab: Lab) -> None:
        contents = {"small": b"small", "large": LARGE, "wrong": b"not it"}
        specs = {key: a_file(self.names[key], content) for key, content in contents.items()}
        specs["book"] = a_tree(self.names["book"], BOOK)
        begun = await lab.begin(*specs.values())
        assert not begun.errors
        for key, spec in specs.items():
            place = lab.staged(begun, spec.upload_id)
            content = contents.get(key, BOOK)
            stage(place, content)
            self.ids[key] = spec.upload_id
            self.claims[spec.upload_id] = claims_of(place, b"claimed" if key == "wrong" else content)

    async def check(self, lab: Lab, *, recovered_first: bool) -> None:
        """Whether the worker asks again before the restarted service has looked round, or after."""
        recovery = Recovery(lab.kit, lab.house.committer)
        if recovered_first:
            await recovery.run_once()
        statuses = await lab.commit(self.claims)
        states = {key: statuses[upload_id].state for key, upload_id in self.ids.items()}
        good = UploadState.COMMITTED
        assert states == {"small": good, "large": good, "book": good, "wrong": UploadState.FAILED}
        await recovery.run_once()
        root = lab.root
        assert (root / self.names["small"]).read_bytes() == b"small"
        assert (root / self.names["large"]).read_bytes() == LARGE
        assert (root / self.names["book"] / "a/large").read_bytes() == LARGE
        assert (root / self.names["book"] / "b").is_dir()
        assert not (root / self.names["wrong"]).exists()
        assert lab.left_over() == []
        assert await lab.reserved() == 0
        sidecars = {path.stem for path in (lab.own / "sidecars").rglob("*.json")}
        assert self.ids["wrong"] not in sidecars
        assert {self.ids["small"], self.ids["large"], self.ids["book"]} <= sidecars
        async for progress in verify_replica(lab.kit, "main", self.ids["book"]):
            report = progress.report
        assert report is not None
        assert report.verdict is Verdict.AVAILABLE


async def _commit(claims: dict[str, Claims], lab: Lab) -> None:
    await lab.commit(claims)


@pytest.mark.parametrize(
    "refused",
    [pytest.param((), id="all"), pytest.param(EVERYTHING_REFUSED, id="nothing", marks=pytest.mark.slow)],
)
async def test_commit_killed_at_each_point(
    database_dsn: str, tmp_path: Path, refused: tuple[Feature, ...]
) -> None:
    root = tmp_path / "root"
    async with a_lab(database_dsn, root) as lab:
        await lab.add()
    kills = 0
    while True:
        kills += 1
        ingest = Ingest(kills)
        async with a_lab(database_dsn, root, refused=refused) as lab:
            await ingest.begin(lab)
        finished = run_to_its_end(
            partial(_commit, ingest.claims), database_dsn, root, {"kill_at": kills}, refused
        )
        async with a_lab(database_dsn, root, refused=refused) as lab:
            await ingest.check(lab, recovered_first=kills % 2 == 0)
        if finished:
            break
    assert kills > 20


async def _begin(spec: UploadSpec, lab: Lab) -> None:
    assert not (await lab.begin(spec)).errors


async def _abort(upload_id: str, lab: Lab) -> None:
    await lab.house.committer.abort("main", [upload_id], idle_seconds=0)


async def _confirm(upload_id: str, lab: Lab) -> None:
    assert await lab.house.committer.confirm("main", [upload_id]) == {}


async def _adopt(name: str, lab: Lab) -> None:
    async for _ in adopt_trees(lab.kit, "main", [ToAdopt(name)], "sha256"):
        pass


async def test_begin_abort_confirm_adopt_killed_at_each_point(database_dsn: str, tmp_path: Path) -> None:
    """Each is killed, done again, and leaves what one undisturbed call would have left."""
    root = tmp_path / "root"
    async with a_lab(database_dsn, root) as lab:
        await lab.add()

    async def until_it_passes(name: str) -> None:
        for n in range(1, 20):
            async with a_lab(database_dsn, root) as lab:
                committed = [(await lab.put(f"{name}/{n}/{key}", b"abc")).upload_id for key in ("a", "c")]
                (root / f"{name}/{n}/adopt").write_bytes(b"abc")
            spec = a_file(f"{name}/{n}/begin", b"abc")
            steps = {
                "begin": partial(_begin, spec),
                "abort": partial(_abort, committed[0]),
                "confirm": partial(_confirm, committed[1]),
                "adopt": partial(_adopt, f"{name}/{n}/adopt"),
            }
            finished = run_to_its_end(steps[name], database_dsn, root, {"kill_at": n})
            async with a_lab(database_dsn, root) as lab:
                await Recovery(lab.kit, lab.house.committer).run_once()
                for step in steps.values():
                    await step(lab)
                assert await lab.reserved() == 3
                await _abort(spec.upload_id, lab)
                assert (lab.left_over(), await lab.reserved()) == ([], 0)
                assert sorted(path.name for path in (root / f"{name}/{n}").iterdir()) == ["adopt", "c"]
                findings = [f async for progress in scan_store(lab.kit, "main") for f in progress.findings]
                assert findings == []
            if finished:
                assert n > 1
                return
        pytest.fail(f"{name} never got to its end")

    for name in ("begin", "abort", "confirm", "adopt"):
        await until_it_passes(name)
