"""How running servers are asked: real TLS servers, and what is made of members' answers."""

from __future__ import annotations

import http.server
import ssl
import threading
from typing import TYPE_CHECKING

import pytest

from apilayer.cli.cluster import certificates
from apilayer.cli.cluster.probe import MemberView, api_problem, client_context, judge, member_views
from kvraft.types import Status

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def status(member_id: int, leader: int, term: int) -> Status:
    return Status("3.6.0", 1, member_id, f"m{member_id}", leader, term, 10, 9, 8, 0, 0)


def test_the_leader_is_the_one_of_the_newest_term() -> None:
    deposed, leader, follower = status(1, 1, 4), status(2, 2, 5), status(3, 2, 5)
    views = judge([deposed, leader, follower, "no answer"])
    assert [view.leader for view in views] == [False, True, False, False]
    assert views[1] == MemberView(leader=True, term=5, applied_index=9, revision=8)
    assert views[3] == MemberView(error="no answer")


def test_nobody_leads_during_an_election() -> None:
    assert not any(view.leader for view in judge([status(1, 0, 5), status(2, 0, 5)]))
    assert judge([]) == []


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("cluster") / "pki"
    certificates.ensure(directory)
    return directory


class Handler(http.server.BaseHTTPRequestHandler):
    code = 200

    def do_GET(self) -> None:
        self.send_response(self.code if self.path == "/readyz" else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def server(pki: Path) -> Iterator[http.server.HTTPServer]:
    made = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki / "apiserver.crt", pki / "apiserver.key")
    context.load_verify_locations(pki / "ca.crt")
    context.verify_mode = ssl.CERT_REQUIRED
    made.socket = context.wrap_socket(made.socket, server_side=True)
    thread = threading.Thread(target=made.handle_request)
    thread.start()
    yield made
    thread.join()
    made.server_close()


@pytest.mark.parametrize(("code", "problem"), [(200, ""), (503, "/readyz answers 503")])
def test_a_server_is_asked_as_the_administrator(
    pki: Path, server: http.server.HTTPServer, monkeypatch: pytest.MonkeyPatch, code: int, problem: str
) -> None:
    monkeypatch.setattr(Handler, "code", code)
    assert api_problem(client_context(pki, "ca", "admin"), server.server_port) == problem


def test_nobody_listens(pki: Path) -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as gone:
        port = gone.server_port
    assert "refused" in api_problem(client_context(pki, "ca", "admin"), port)
    (view,) = member_views(client_context(pki, "etcd/ca", "etcd/healthcheck-client"), [f"https://127.0.0.1:{port}"])
    assert "refused" in view.error.lower()
