"""The birth certificate of a dataset: made once, signed with the site's key, kept for ever."""

from __future__ import annotations

import base64
import json

from librarian.api.common.v1 import common_pb2
from svckit.sitekeys import SiteKeys
from svckit.statements import make_origin
from transfer_svc.outcomes import Bytes
from transfer_svc.values import Job


class Origins:
    """Made in the name of one site."""

    def __init__(self, site_keys: SiteKeys) -> None:
        self.site_keys = site_keys
        self.site = site_keys.site

    def signed(
        self,
        *,
        uid: str,
        name: str,
        kind: int,
        content: Bytes,
        uploader: str,
        create_time_us: int,
        traceparent: str,
    ) -> bytes:
        """A serialised Signed, to be kept and sent on as it is."""
        origin = common_pb2.Origin(
            site=self.site,
            uid=uid,
            name=name,
            kind=common_pb2.DatasetKind.ValueType(kind),
            digest=common_pb2.Checksum(algorithm=content.algorithm, value=content.digest),
            size_bytes=content.size_bytes,
            member_count=content.member_count,
            uploader=uploader,
            create_time_us=create_time_us,
            traceparent=traceparent,
        )
        return make_origin(origin, self.site_keys.key).SerializeToString(deterministic=True)

    def facts_json(self, job: Job) -> str:
        """What a sidecar shall tell of an ingest besides what the store knows itself."""
        return json.dumps(
            {
                "uploader": job.uploader,
                "site": job.origin_site or self.site,
                "create_time_us": job.create_time_us,
                "tags": json.loads(job.tags_json) if job.tags_json else {},
                "traceparent": job.traceparent,
                "origin": base64.b64encode(job.origin or b"").decode(),
            },
            ensure_ascii=False,
            separators=(",", ":"),
        )
