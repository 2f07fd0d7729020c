"""What a receipt of another site may say, and whether it is about what is here. Pure: who signed it is for
those who bring it to check.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from librarian.api.catalog.v1 import catalog_pb2 as pb
from librarian.api.common.v1 import common_pb2
from librarian.errors import InvalidInput, ReceiptMismatch, SignatureInvalid
from librarian.names import check_store_name, printable
from svckit.statements import RECEIPT_TYPE

from .columns import check_texts, check_time, check_uid

MAX_RECEIPTS = 1000
MAX_RECEIPT_BYTES = 16_384

# Kind, algorithm and value: what two datasets of the same bytes have in common.
Content = tuple[int, str, bytes]


@dataclass(frozen=True, slots=True)
class Receipt:
    """`signed` is what is kept and told on, `digest` its sha256: by that it is known again. `key_id`: which
    key signed it.
    """

    digest: bytes
    signed: bytes
    via_site: str
    word: common_pb2.Receipt
    key_id: str

    @property
    def content(self) -> Content:
        return self.word.kind, self.word.digest.algorithm, self.word.digest.value

    @property
    def details_json(self) -> str:
        """Of the event that tells of it."""
        details = {
            "site": self.word.site,
            "store": self.word.store,
            "store_class": self.word.store_class,
            "failure_domain": self.word.failure_domain,
            "verify_time_us": self.word.verify_time_us,
            "via_site": self.via_site,
            "key_id": self.key_id,
        }
        if self.word.held_uid:
            details["held_uid"] = self.word.held_uid
        return json.dumps(details, ensure_ascii=False)


def read_receipt(record: pb.ReceiptRecord) -> Receipt:
    """Raises SignatureInvalid: it is no receipt at all; InvalidInput, InvalidStore: it cannot be kept."""
    signed = common_pb2.Signed()
    signed.CopyFrom(record.receipt)
    # Nothing beside what was signed may make another receipt of it.
    signed.DiscardUnknownFields()
    raw = signed.SerializeToString(deterministic=True)
    if len(raw) > MAX_RECEIPT_BYTES:
        raise InvalidInput(
            f"the receipt has {len(raw)} bytes", remedy=f"no receipt needs more than {MAX_RECEIPT_BYTES}"
        )
    if signed.type != RECEIPT_TYPE:
        raise SignatureInvalid(f"a statement of type {printable(signed.type)!r} is no receipt")
    try:
        word = common_pb2.Receipt.FromString(signed.payload)
    except DecodeError as error:
        raise SignatureInvalid("the payload of the receipt cannot be read") from error
    via_site = record.via_site or word.site
    check_uid(word.uid)
    check_texts(
        site=word.site,
        store_class=word.store_class,
        failure_domain=word.failure_domain,
        via_site=via_site,
        key_id=signed.key_id,
        held_uid=word.held_uid,
    )
    if not word.site:
        raise InvalidInput("the receipt names no site", remedy="ask the peer that sent it", uid=word.uid)
    check_store_name(word.store)
    check_time("verify_time_us", word.verify_time_us)
    check_time("sign_time_us", word.sign_time_us)
    return Receipt(hashlib.sha256(raw).digest(), raw, via_site, word, signed.key_id)


def check_content(receipt: Receipt, here: Content) -> None:
    """`here`: of the dataset that has the receipt's uid at this site. Raises ReceiptMismatch."""
    if receipt.content != here:
        word = receipt.word
        raise ReceiptMismatch(
            f"{word.site} holds {word.uid} as {word.digest.algorithm}:{word.digest.value.hex()}, "
            f"which is {here[1]}:{here[2].hex()} here",
            uid=word.uid,
            site=word.site,
        )
