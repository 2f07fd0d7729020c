"""What becomes of an offered dataset. Pure: what is known of it here comes in, a verdict goes out."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from librarian.errors import (
    BatchTooLarge,
    Cancelled,
    DeadlineExceeded,
    Exhausted,
    InternalError,
    InvalidInput,
    LibrarianError,
    NameTaken,
    NoStore,
    OriginInvalid,
    StoreDisabled,
    StoreIdentity,
    StoreNotFound,
    UidTaken,
    Unavailable,
)
from librarian.names import printable
from transfer_svc import rules
from transfer_svc.planning import StoreClass

MAX_OFFERED: Final = 1000
_MAX_UPLOADER: Final = 1000
# About the moment, not about the dataset.
_PASSING: Final = (
    Unavailable,
    DeadlineExceeded,
    Cancelled,
    Exhausted,
    NoStore,
    StoreDisabled,
    StoreIdentity,
    StoreNotFound,
    InternalError,
)


@dataclass(frozen=True, slots=True)
class Content:
    """What a dataset is: two of one uid must agree in all of it."""

    name: str
    kind: int
    algorithm: str
    digest: bytes
    size_bytes: int
    member_count: int


@dataclass(frozen=True, slots=True)
class Birth:
    """What a dataset's origin says besides its content."""

    site: str
    uid: str
    content: Content
    uploader: str
    create_time_us: int
    traceparent: str


@dataclass(frozen=True, slots=True)
class Offered:
    """One dataset of an offer. `origin`: a serialised Signed, as received."""

    position: int
    uid: str
    content: Content
    tags: Mapping[str, str]
    origin: bytes
    birth: Birth


@dataclass(frozen=True, slots=True)
class Copy:
    """An AVAILABLE replica on a store of this site."""

    store: str
    store_class: StoreClass
    failure_domain: str
    verify_time_us: int


@dataclass(frozen=True, slots=True)
class Held:
    """A live dataset of this site, with its good copies; `silent`: stores that have one and do not answer."""

    uid: str
    content: Content
    copies: Collection[Copy]
    silent: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Here:
    """It is here already. `held_uid`: under this uid of its own; empty: under the one offered."""

    copy: Copy
    held_uid: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    error: LibrarianError


@dataclass(frozen=True, slots=True)
class Bring:
    """The bytes are wanted."""


Verdict = Here | Refused | Bring


def check_count(count: int) -> None:
    """Raises BatchTooLarge."""
    if count > MAX_OFFERED:
        raise BatchTooLarge(
            f"{count} items in one batch; {MAX_OFFERED} are allowed",
            remedy=f"send them in batches of {MAX_OFFERED}",
            limit=MAX_OFFERED,
        )


def check_offered(uid: str, content: Content, tags: Mapping[str, str]) -> None:
    """Raises InvalidName, InvalidSize, AlgorithmNotAllowed or InvalidInput. `uid` is known to be one."""
    rules.check_spec(
        rules.Spec(
            name=content.name,
            kind=content.kind,
            size_bytes=content.size_bytes,
            inode_count=content.member_count,
            algorithm=content.algorithm or "none",
            tags=tags,
            create_time_us=None,
            ingest_id="",
        )
    )
    rules.check_claim(
        content.algorithm, content.digest, content.size_bytes, content.member_count, ingest_id=uid
    )


def check_birth(birth: Birth, uid: str, content: Content) -> None:
    """Raises OriginInvalid: about another dataset, or with facts that cannot be kept."""
    if birth.uid != uid or birth.content != content:
        raise OriginInvalid(
            f"the origin that comes with {printable(content.name)} is of another dataset",
            name=content.name,
            uid=uid,
        )
    try:
        rules.check_traceparent(birth.traceparent)
        rules.check_create_time(birth.create_time_us, content.name)
        _check_uploader(birth.uploader)
    except InvalidInput as error:
        raise OriginInvalid(f"the origin of {content.name}: {error.message}", uid=uid) from error


def _check_uploader(uploader: str) -> None:
    if "\0" in uploader or len(uploader) > _MAX_UPLOADER:
        raise InvalidInput("the uploader is no name")


def judge(
    uid: str, content: Content, by_uid: Held | None, by_name: Held | None, *, only: str = ""
) -> Verdict:
    """`by_uid`, `by_name`: what is live here under the uid and under the name. `only`: a copy counts only
    on this store; empty: on any whose copies count at all.
    """
    if by_uid is not None:
        return _judge_known(uid, content, by_uid, only)
    if by_name is None:
        return Bring()
    theirs = (by_name.content.kind, by_name.content.algorithm, by_name.content.digest)
    if theirs != (content.kind, content.algorithm, content.digest):
        return Refused(
            NameTaken(
                f"{printable(content.name)} is a dataset with another digest here",
                name=content.name,
                uid=by_name.uid,
            )
        )
    copy = best_copy(by_name.copies, only=only)
    return Here(copy, by_name.uid) if copy else Refused(_no_answer(by_name))


def _judge_known(uid: str, content: Content, held: Held, only: str) -> Verdict:
    if held.content != content:
        name = held.content.name
        return Refused(UidTaken(f"{uid} is {printable(name)} here, with other facts", uid=uid, name=name))
    copy = best_copy(held.copies, only=only)
    if copy is not None:
        return Here(copy)
    unsure = only in held.silent if only else held.silent
    return Refused(_no_answer(held)) if unsure else Bring()


def _no_answer(held: Held) -> Unavailable:
    return Unavailable(
        f"{printable(held.content.name)} is here as {held.uid}, and no good copy of it answers",
        name=held.content.name,
        uid=held.uid,
    )


def best_copy(copies: Collection[Copy], *, only: str = "") -> Copy | None:
    """The one to be receipted: last verified, and not where things vanish unless that place was asked for."""
    if only:
        fit = [copy for copy in copies if copy.store == only]
    else:
        fit = [copy for copy in copies if copy.store_class is not StoreClass.SCRATCH]
    return max(fit, key=lambda copy: (copy.verify_time_us, copy.store), default=None)


def is_passing(error: LibrarianError) -> bool:
    """Whether the same offer may find another answer soon: nothing of it is kept."""
    return isinstance(error, _PASSING)
