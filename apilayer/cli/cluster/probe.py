"""Asks running servers how they are: the API server's ``/readyz``, the members' own status."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence
    from pathlib import Path

    from kvraft.types import Status

API_TIMEOUT_S = 2.0
MEMBER_TIMEOUT_S = 2.0


class MemberView(NamedTuple):
    """What a member says of itself; ``leader`` only for the one of the newest term. ``error``: it did not answer."""

    leader: bool = False
    term: int | None = None
    applied_index: int | None = None
    revision: int | None = None
    error: str = ""


def preload() -> None:
    """Import what the questions need. The supervisor does so while its children start, not when they are ready."""
    for name in ("http.client", "ssl", "trio", "kvraft.client"):
        importlib.import_module(name)


def client_context(pki: Path, authority: str, name: str) -> ssl.SSLContext:
    """A TLS context that trusts ``authority`` and shows the certificate ``name`` (paths below ``pki``, no ending)."""
    import ssl

    context = ssl.create_default_context(cafile=pki / f"{authority}.crt")
    context.load_cert_chain(pki / f"{name}.crt", pki / f"{name}.key")
    return context


def api_problem(context: ssl.SSLContext, port: int) -> str:
    """Empty when the API server on this machine is ready, else the reason why not."""
    import http.client

    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=API_TIMEOUT_S, context=context)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__
    finally:
        connection.close()
    return "" if answer.status == 200 else f"/readyz answers {answer.status}"


def member_views(context: ssl.SSLContext, client_urls: Sequence[str]) -> list[MemberView]:
    """Ask every member at once, each for at most two seconds; views in the order of the URLs."""
    import trio

    return trio.run(_member_views, context, client_urls)


async def _member_views(context: ssl.SSLContext, client_urls: Sequence[str]) -> list[MemberView]:
    import trio

    answers: dict[str, Status | str] = {}

    async def ask(url: str) -> None:
        answers[url] = await _ask(context, url)

    async with trio.open_nursery() as nursery:
        for url in client_urls:
            nursery.start_soon(ask, url)
    return judge([answers[url] for url in client_urls])


async def _ask(context: ssl.SSLContext, url: str) -> Status | str:
    import trio

    from kvraft.client import open_client
    from kvraft.errors import KvraftError

    problem = f"no answer in {MEMBER_TIMEOUT_S:g} s"
    with trio.move_on_after(MEMBER_TIMEOUT_S):
        try:
            async with open_client([url], ssl_context=context) as client:
                return await client.status(url)
        except (KvraftError, OSError) as error:
            problem = str(error) or type(error).__name__
    return problem


def judge(answers: Sequence[Status | str]) -> list[MemberView]:
    """Views from answers (or reasons why there is none). A leader that was deposed unheard does not count."""
    newest = max((answer.term for answer in answers if not isinstance(answer, str)), default=0)
    return [
        MemberView(error=answer)
        if isinstance(answer, str)
        else MemberView(
            leader=answer.leader == answer.member_id and answer.term == newest,
            term=answer.term,
            applied_index=answer.applied_index,
            revision=answer.revision,
        )
        for answer in answers
    ]


def cluster_view(pki: Path, document: dict[str, Any]) -> dict[str, Any]:
    """``cluster.json`` with every server's present state filled in: what ``apilayer status -o json`` prints."""
    views = member_views(
        client_context(pki, "etcd/ca", "etcd/healthcheck-client"),
        [member["clientURL"] for member in document["members"]],
    )
    members = []
    for member, view in zip(document["members"], views, strict=True):
        members.append(
            {
                **member,
                "leader": view.leader,
                "term": view.term,
                "appliedIndex": view.applied_index,
                "revision": view.revision,
                "error": view.error,
            }
        )
    context = client_context(pki, "ca", "admin")
    servers = []
    for server in document["apiservers"]:
        problem = api_problem(context, int(server["url"].rpartition(":")[2]))
        servers.append({**server, "ready": not problem, "error": problem})
    return {**document, "members": members, "apiservers": servers}
