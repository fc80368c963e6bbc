"""From flags to the authorities that sign certificates, and who may have them without being asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from apilayer.controllers.certificates.requests import CLIENT, KUBELET_CLIENT, KUBELET_SERVING, LEGACY_UNKNOWN
from apilayer.later import Later
from apilayer.pipeline.authentication import User
from apilayer.server.errors import OptionsError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from apilayer.controllers.certificates import authority
    from apilayer.controllers.certificates.approving import May
    from apilayer.controllers.certificates.authority import Authority
    from apilayer.registry.registry import Registry
else:
    authority = Later("apilayer.controllers.certificates.authority")

FLAGS = {
    KUBELET_SERVING: "kubelet-serving",
    KUBELET_CLIENT: "kubelet-client",
    CLIENT: "kube-apiserver-client",
    LEGACY_UNKNOWN: "legacy-unknown",
}
"""How the flags of each signer are called: ``--cluster-signing-NAME-cert-file`` and ``-key-file``."""
DEFAULT_SECONDS = 8760 * 3600.0


class SigningFlags(Protocol):
    """What the flags say (see `ServerOptions`), and the files of each signer by `FLAGS`."""

    @property
    def cluster_signing_cert_file(self) -> Path | None: ...
    @property
    def cluster_signing_key_file(self) -> Path | None: ...
    @property
    def cluster_signing_duration(self) -> float: ...


def read_authorities(flags: SigningFlags) -> Mapping[str, Authority]:
    """The authority of each signer that has one. Raises OptionsError."""
    common = (flags.cluster_signing_cert_file, flags.cluster_signing_key_file)
    files = {signer: _files(flags, name) for signer, name in FLAGS.items()}
    if any(common) and any(map(any, files.values())):
        text = "cannot specify --cluster-signing-{cert,key}-file and other --cluster-signing-*-file flags"
        raise OptionsError(f"{text} at the same time")
    if any(common):
        files = dict.fromkeys(files, common)
    seconds = flags.cluster_signing_duration
    if seconds <= 0:
        raise OptionsError("--cluster-signing-duration: must be positive")
    return {
        signer: made
        for signer, (certificate, key) in files.items()
        if (made := _authority("cluster-signing" if any(common) else FLAGS[signer], certificate, key, seconds))
    }


def _files(flags: SigningFlags, name: str) -> tuple[Path | None, Path | None]:
    start = f"cluster_signing_{name.replace('-', '_')}"
    return getattr(flags, f"{start}_cert_file"), getattr(flags, f"{start}_key_file")


def _authority(name: str, certificate: Path | None, key: Path | None, seconds: float) -> Authority | None:
    flag = name if name == "cluster-signing" else f"cluster-signing-{name}"
    if certificate is None or key is None:
        if certificate is None and key is None:
            return None
        missing = "key without cert" if certificate is None else "cert without key"
        raise OptionsError(f'"{flag}": cannot specify {missing}')
    try:
        return authority.Authority(certificate, key, seconds)
    except authority.AuthorityError as error:
        raise OptionsError(f"--{flag}-cert-file, --{flag}-key-file: {error}") from error


def requester_may(registry: Registry) -> May:
    """Asks the authorizer about whoever made a request."""

    async def may(spec: dict[str, Any], verb: str, group: str, resource: str) -> bool:
        extra = tuple(sorted((name, tuple(values or ())) for name, values in (spec.get("extra") or {}).items()))
        groups = tuple(spec.get("groups") or ())
        user = User(spec.get("username") or "", spec.get("uid") or "", groups, extra)
        return await registry.may(user, verb, group, resource, "", "")

    return may
