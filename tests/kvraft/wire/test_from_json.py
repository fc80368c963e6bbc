"""Bytes in JSON are base64, or the request is refused: never bytes that nobody meant."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvraft.errors import InvalidArgument
from kvraft.wire.etcd import rpc_pb2 as pb
from kvraft.wire.etcd.from_json import from_json


@settings(max_examples=50)
@given(st.binary(max_size=12), st.booleans(), st.booleans())
def test_either_alphabet_with_padding_or_without(raw: bytes, for_urls: bool, padded: bool) -> None:
    text = (base64.urlsafe_b64encode if for_urls else base64.b64encode)(raw).decode()
    assert from_json({"key": text if padded else text.rstrip("=")}, pb.RangeRequest()).key == raw


@pytest.mark.parametrize("text", ["!!", "a", "YQ=", "YQ===", "Y=Q=", "YQ==YQ==", "YQ== ", "-_+/", "abcde", "\u00e9"])
@pytest.mark.parametrize(
    ("message", "wrapped"),
    [
        (pb.PutRequest, lambda text: {"value": text}),
        (pb.RangeRequest, lambda text: {"rangeEnd": text}),
        (pb.TxnRequest, lambda text: {"compare": [{"key": "YQ=="}, {"key": text}]}),
        (pb.TxnRequest, lambda text: {"success": [{"request_txn": {"failure": [{"requestPut": {"key": text}}]}}]}),
    ],
)
def test_what_is_none_is_refused(text: str, message: Any, wrapped: Any) -> None:
    with pytest.raises(InvalidArgument):
        from_json(wrapped(text), message())


def test_what_is_refused_is_named_and_cut() -> None:
    with pytest.raises(InvalidArgument, match=r'^invalid value for bytes field key: "!{64}\.\.\."$'):
        from_json({"key": "!" * 1000}, pb.RangeRequest())


def test_nothing_and_what_is_unknown_are_left_alone() -> None:
    assert from_json({"key": None, "success": None, "new": "!!"}, pb.RangeRequest()) == pb.RangeRequest()


def test_what_is_no_object_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="json: cannot unmarshal what is no object"):
        from_json(["YQ=="], pb.RangeRequest())


def test_only_bytes_are_base64() -> None:
    found = {"success": [{"requestPut": {"key": "YQ==", "lease": "7", "prevKv": True}}]}
    operation = pb.RequestOp(request_put=pb.PutRequest(key=b"a", lease=7, prev_kv=True))
    assert from_json(found, pb.TxnRequest()) == pb.TxnRequest(success=[operation])
