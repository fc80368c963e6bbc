"""What is printed, without a store: Go's quoting and JSON, formats and tables; and how flags and lines are read."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvraft.cli.documents import document, to_json
from kvraft.cli.failures import CommandError
from kvraft.cli.field_lines import field_lines
from kvraft.cli.flags import BOOL, DURATION, INT, LIST, STRING, Flag, UsageError, parse_int, parse_uint, read
from kvraft.cli.header import Header
from kvraft.cli.quoting import BadQuoting, quote, unquote, words
from kvraft.cli.table import draw, human_bytes
from kvraft.cli.txn import parse_compare, parse_operation
from kvraft.types import (
    Compare,
    CompareResult,
    CompareTarget,
    DeleteRangeRequest,
    DeleteRangeResponse,
    KeyValue,
    MemberInfo,
    MemberListResponse,
    PutRequest,
    PutResponse,
    RangeRequest,
    RangeResponse,
    TxnResponse,
    UserListResponse,
    WatchBatch,
)

HEADER = Header((1 << 64) - 1, 7, 3, 2)
KV = KeyValue(b"k\xff", b"", 2, 3, 1, 0x1234)
FLAGS = (
    Flag("endpoints", LIST, ("default",), ""),
    Flag("hex", BOOL, False, ""),
    Flag("limit", INT, 0, ""),
    Flag("timeout", DURATION, 5.0, "", "t"),
    Flag("write-out", STRING, "simple", "", "w"),
    Flag("interactive", BOOL, False, "", "i"),
)


@given(st.binary(max_size=40))
def test_what_is_quoted_can_be_read_again(data: bytes) -> None:
    assert unquote(quote(data)) == data
    assert words(f"put {quote(data)} end")[1].encode("utf-8", "surrogateescape") == data


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"plain", '"plain"'),
        (b'a\x01\xff<>&"\\\n', r'"a\x01\xff<>&\"\\\n"'),
        ("é\u200b\U0001f600".encode(), '"é\\u200b\U0001f600"'),
        (b"\a\b\f\r\t\v\x7f", r'"\a\b\f\r\t\v\x7f"'),
    ],
)
def test_quoting_is_gos(data: bytes, text: str) -> None:
    assert quote(data) == text


@pytest.mark.parametrize("text", ['"', '"a', "a", r'"\x4"', r'"\q"', '"\\u12"', r'"\400"', r'"\ud800"', r'"a"b"'])
def test_bad_quoting_is_refused(text: str) -> None:
    with pytest.raises(BadQuoting):
        unquote(text)


def test_json_is_gos() -> None:
    assert to_json({"users": ["<a&b>", "é"]}) == '{"users":["\\u003ca\\u0026b\\u003e","é"]}'
    header = '"header":{"cluster_id":18446744073709551615,"member_id":7,"revision":3,"raft_term":2}'
    kv = '{"key":"a/8=","create_revision":2,"mod_revision":3,"version":1,"lease":4660}'
    assert (
        to_json(document(RangeResponse(3, [KV], 5, True), HEADER)) == f'{{{header},"kvs":[{kv}],"more":true,"count":5}}'
    )
    assert to_json(document(RangeResponse(3, [], 0), HEADER)) == f"{{{header}}}"
    assert json.loads(to_json(document(PutResponse(3, KV), HEADER)))["prev_kv"]["lease"] == 0x1234
    assert to_json(document(UserListResponse(3, []), HEADER)) == f"{{{header}}}"
    nested = TxnResponse(3, False, [DeleteRangeResponse(3, 1), TxnResponse(3, True, [])])
    assert document(nested, HEADER)["responses"] == [
        {"Response": {"ResponseDeleteRange": {"header": {"revision": 3}, "deleted": 1}}},
        {"Response": {"ResponseTxn": {"header": {"revision": 3}, "succeeded": True}}},
    ]
    ended = document(WatchBatch(3, [], 9), Header(1, 2, 0, 3))
    assert (ended["CompactRevision"], ended["Canceled"], ended["Events"]) == (9, True, [])


def test_fields_are_lines() -> None:
    assert field_lines(PutResponse(3, KV), HEADER) == [
        '"ClusterID" : 18446744073709551615',
        '"MemberID" : 7',
        '"Revision" : 3',
        '"RaftTerm" : 2',
        '"PrevKey" : "k\\xff"',
        '"PrevCreateRevision" : 2',
        '"PrevModRevision" : 3',
        '"PrevVersion" : 1',
        '"PrevValue" : ""',
        '"PrevLease" : 4660',
    ]
    members = MemberListResponse(3, [MemberInfo(5, "", ("http://a:1",), (), True)])
    assert field_lines(members, HEADER)[4:] == [
        '"ID" : 5',
        '"Name" : ""',
        '"PeerURL" : "http://a:1"',
        '"IsLearner" : true',
        "",
    ]


def test_tables_are_drawn_as_etcdctls() -> None:
    assert draw(("endpoint", "hash"), [("127.0.0.1:42379", "1215296734"), ("a", "1")]) == [
        "+-----------------+------------+",
        "|    ENDPOINT     |    HASH    |",
        "+-----------------+------------+",
        "| 127.0.0.1:42379 | 1215296734 |",
        "|               a |          1 |",
        "+-----------------+------------+",
    ]
    assert [human_bytes(count) for count in (0, 999, 1000, 20480, 2_100_000, 9_949_999, 9_960_000, 12_345_678_901)] == [
        *("0 B", "999 B", "1.0 kB", "20 kB", "2.1 MB", "9.9 MB", "10 MB", "12 GB")
    ]  # fmt: skip


def test_flags_and_arguments_come_in_any_order() -> None:
    line = read(
        FLAGS, ["a", "--hex", "-wjson", "--endpoints=x,y", "b", "--endpoints", "z", "-it=1m30s", "--", "-c", "--"]
    )
    assert line.arguments == ["a", "b", "-c", "--"]
    assert line.after_dashes == 2
    assert line.values == {
        "hex": True,
        "write-out": "json",
        "endpoints": ("x", "y", "z"),
        "interactive": True,
        "timeout": 90.0,
    }
    assert read(FLAGS, ["--hex=false", "--hex=T"]).values == {"hex": True}
    assert read(FLAGS, ["-", "-w", "-"]).arguments == ["-"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--nope"], "unknown flag: --nope"),
        (["--nope=1"], "unknown flag: --nope"),
        (["-in"], "unknown shorthand flag: 'n' in -in"),
        (["--limit"], "flag needs an argument: --limit"),
        (["-iw"], "flag needs an argument: 'w' in -iw"),
        (["---"], "bad flag syntax: ---"),
        (["--limit=1_0"], 'invalid argument "1_0" for "--limit" flag: strconv.ParseInt: parsing "1_0": invalid syntax'),
        (
            ["--hex=maybe"],
            'invalid argument "maybe" for "--hex" flag: strconv.ParseBool: parsing "maybe": invalid syntax',
        ),
        (["-t", "soon"], 'invalid argument "soon" for "-t, --timeout" flag: time: invalid duration "soon"'),
    ],
)
def test_wrong_flags_are_told_in_etcdctls_words(arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(FLAGS, arguments)
    assert str(caught.value) == message


def test_numbers_have_64_bits() -> None:
    assert parse_int("-8000000000000000", 16) == -(1 << 63)
    assert parse_uint("ffffffffffffffff", 16) == (1 << 64) - 1
    for text, base in (("8000000000000000", 16), ("9223372036854775808", 10)):
        with pytest.raises(ValueError, match=f'strconv.ParseInt: parsing "{text}": value out of range'):
            parse_int(text, base)
    for text in ("", "-1", "+1", "0x1", " 1", "1 ", "\u0661"):
        with pytest.raises(ValueError, match="invalid syntax"):
            parse_uint(text, 16)


def test_lines_of_a_transaction() -> None:
    assert parse_compare('lease("k\\x00") != "1f"') == Compare(
        b"k\0", CompareTarget.LEASE, CompareResult.NOT_EQUAL, 0x1F
    )
    assert parse_compare('val("a b") < "x\\ty"').operand == b"x\ty"
    assert parse_operation('put "a b" \'c "d"\' --prev-kv', bytes) == PutRequest(b"a b", b'c "d"', prev_kv=True)
    assert parse_operation("get a --prefix --limit 3 --consistency=s", bytes) == RangeRequest(
        b"a", b"b", limit=3, serializable=True
    )
    assert parse_operation("del a c", bytes) == DeleteRangeRequest(b"a", b"c")


@given(st.text(max_size=30))
def test_no_line_of_a_transaction_is_a_crash(line: str) -> None:
    for parse in (parse_compare, lambda text: parse_operation(text, lambda: b"")):
        try:
            parse(line)
        except CommandError as error:
            assert error.code in (3, 4, 128)
