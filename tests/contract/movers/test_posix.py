"""A staging area that the receiver has set traps in."""

from __future__ import annotations

from pathlib import Path

import pytest

from librarian.api.store.v1.store_pb2 import UploadGrant
from librarian.errors import LandingInvalid
from librarian.ingest.local import StagingArea
from librarian.trees import walk_tree
from transfer_svc.movers.copying import Copier
from transfer_svc.movers.landings import proven_area
from transfer_svc.movers.sources import Sight


@pytest.fixture
def sight(tmp_path: Path) -> Sight:
    (tmp_path / "source" / "sub").mkdir(parents=True)
    (tmp_path / "source" / "sub" / "file").write_text("data")
    return Sight(str(tmp_path / "source"), None, walk_tree(tmp_path / "source"))


@pytest.fixture
def area(tmp_path: Path) -> StagingArea:
    (tmp_path / "area").mkdir()
    return StagingArea(str(tmp_path / "area"), 0o644, open_to_group=False)


def copy(sight: Sight, area: StagingArea) -> None:
    Copier(area, lambda _: None, None).copy(sight, "u1")


def test_links_in_the_way_are_replaced_and_never_followed(
    sight: Sight, area: StagingArea, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "file").write_text("mine")
    for planted in ("u1", "u1/sub", "u1/sub/file"):
        trap = Path(area.directory) / planted
        trap.parent.mkdir(parents=True, exist_ok=True)
        trap.symlink_to(mine / "file" if planted.endswith("file") else mine)
        copy(sight, area)
        assert (Path(area.directory) / "u1" / "sub" / "file").read_text() == "data"
        assert not (Path(area.directory) / planted).is_symlink()
        assert {path.name: path.read_text() for path in mine.iterdir()} == {"file": "mine"}
        for path in sorted(Path(area.directory, "u1").rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        Path(area.directory, "u1").rmdir()


def test_a_second_name_of_a_file_is_not_written_through(
    sight: Sight, area: StagingArea, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    mine.write_text("mi")
    place = Path(area.directory) / "u1" / "sub"
    place.mkdir(parents=True)
    (place / "file").hardlink_to(mine)
    copy(sight, area)
    assert (place / "file").read_text() == "data"
    assert mine.read_text() == "mi"


def test_a_landing_is_judged_where_its_links_lead(area: StagingArea, tmp_path: Path) -> None:
    real = Path(area.directory)
    (real / ".proof").write_bytes(b"secret")
    agreed = tmp_path / "agreed"
    agreed.mkdir()
    (agreed / "out").symlink_to(real)
    (tmp_path / "in").symlink_to(tmp_path)
    grant = UploadGrant(staging_path=str(agreed / "out"), proof_name=".proof", proof=b"secret")
    with pytest.raises(LandingInvalid):
        proven_area(grant, str(agreed))
    assert proven_area(grant, str(tmp_path / "in")).directory == str(real)
    grant.proof = b"another"
    with pytest.raises(LandingInvalid):
        proven_area(grant, str(tmp_path))
