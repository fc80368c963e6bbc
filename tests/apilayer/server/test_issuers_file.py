"""The file of --authentication-config while the server runs: its issuers come and go, a bad one changes nothing."""

from __future__ import annotations

import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest
import trio
import yaml
from trio.testing import MockClock, wait_all_tasks_blocked

from apilayer.pipeline.authentication import NotOurs
from apilayer.pipeline.authentication_counts import AuthenticationCounts
from apilayer.reloads import LOOK_SECONDS, digest_of
from apilayer.server.authentication_metrics import authentication_families
from apilayer.server.issuers_file import IssuersFile
from apilayer.server.reload_metrics import server_digest
from apilayer.server.retiring import GRACE_SECONDS
from tests.apilayer.authority import Authority
from tests.apilayer.oidc_provider import OidcProvider, oidc_provider

if TYPE_CHECKING:
    from pathlib import Path

PREFIX = "apiserver_authentication_config_controller"


def document(authority: Authority, *providers: OidcProvider, **more: Any) -> bytes:
    jwt = [
        {
            "issuer": {
                "url": provider.url,
                "audiences": ["kube"],
                "certificateAuthority": authority.pem.decode(),
            },
            "claimMappings": {"username": {"claim": "sub", "prefix": ""}},
        }
        for provider in providers
    ]
    head = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration"}
    return yaml.safe_dump({**head, "jwt": jwt, **more}).encode()


def samples(file: IssuersFile) -> dict[tuple[str, str], float]:
    """What metrics tell of the file, by name and status or digest."""
    return {
        (sample.name.removeprefix(PREFIX), sample.labels.get("status") or sample.labels["hash"]): sample.value
        for family in authentication_families(AuthenticationCounts(file.reloads))
        for sample in family.samples
        if sample.labels.get("apiserver_id_hash") == server_digest()
    }


async def test_issuers_come_and_go(tmp_path: Path, mock_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    authority = Authority(tmp_path)
    authority.leaf("server", server=True)
    context, path = authority.server_context(), tmp_path / "authentication.yaml"
    async with oidc_provider(context) as one, oidc_provider(context) as two, trio.open_nursery() as nursery:
        path.write_bytes(document(authority, one))
        file = IssuersFile(path, ["https://kube"])
        way = file.issuers.over(["api"])

        async def known(provider: OidcProvider) -> bool:
            now = int(time.time())
            try:
                found = await way.authenticate(provider.token(iat=now, exp=now + 600))
            except NotOurs:
                return False
            return found.user.name == "jane"

        async def written(data: bytes) -> None:
            path.write_bytes(data)
            mock_clock.jump(LOOK_SECONDS)
            await wait_all_tasks_blocked()

        async with aclosing(file.issuers):
            nursery.start_soon(file.run)
            await wait_all_tasks_blocked()
            assert (await known(one), await known(two)) == (True, False)
            data = document(authority, two)
            await written(data)
            assert (await known(one), await known(two)) == (False, True)
            for bad, reason in (
                (b"", "must be an object"),
                (document(authority, one, two, one), "jwt[2].issuer.url: Duplicate value"),
                (document(authority, one, anonymous={"enabled": True}), "changed from initial configuration file"),
            ):
                for _ in range(2):
                    await written(bad)
                assert caplog.text.count(reason) == 1
                assert (await known(one), await known(two)) == (False, True), "what was good stays in use"
            told = samples(file)
            assert told["_automatic_reloads_total", "success"] == 1
            assert told["_automatic_reloads_total", "failure"] == 3
            assert told["_automatic_reload_last_timestamp_seconds", "failure"] == pytest.approx(time.time(), abs=60)
            assert told["_last_config_info", digest_of(data)] == 1
            mock_clock.jump(GRACE_SECONDS)
            await written(document(authority, one, two))
            assert (await known(one), await known(two)) == (True, True)
            nursery.cancel_scope.cancel()
