"""What all steps of one put share."""

from __future__ import annotations

from librarian.connection.channel import SiteChannel
from librarian.connection.patience import Patience
from librarian.progress import Progress
from librarian.work import Work


class PutContext(Work):
    """`alone`: a single dataset, whose verification is shown as a phase of its own."""

    def __init__(
        self, site: SiteChannel, progress: Progress, *, algorithm: str, store: str, alone: bool
    ) -> None:
        super().__init__(progress)
        self.site = site
        self.algorithm = algorithm
        self.store = store
        self.alone = alone

    def patience(self) -> Patience:
        return self.site.patience()
