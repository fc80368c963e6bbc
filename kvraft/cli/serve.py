"""``kvraft serve``: one member in this process, with etcd's flags."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from kvraft.cli.goflags import FlagError, FlagSet, Given, HelpWanted
from kvraft.cli.serve_flags import CONFIG_FILE, FLAGS, GROUPS, PREFIX, VERSION
from kvraft.cli.serve_help import USAGE, help_text
from kvraft.logs import LogConfig, configure, fields
from kvraft.version import version_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kvraft.server.config import MemberConfig

log = logging.getLogger(__name__)

ETCDS_PREFIX = "ETCD"
FOREIGN_VARIABLES = ("KVRAFT_FAILPOINTS",)
SECTIONS = {"client-transport-security": ("", "client-"), "peer-transport-security": ("peer-", "peer-")}
"""Sections of etcd's configuration file: what goes before their keys to make flags of them, and what before those that
are named for both sides."""
SECTION_KEYS = {"allowed-cn": "cert-allowed-cn", "allowed-hostname": "cert-allowed-hostname", "crl-file": "crl-file"}


class VersionWanted(Exception):
    """``--version`` was given."""


@attrs.frozen
class Settings:
    """What the flags describe. ``warnings``: messages and fields for the log, once there is one."""

    member: MemberConfig
    log: LogConfig
    warnings: list[tuple[str, dict[str, object]]]


def load(arguments: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """Read flags, variables or file. Raises ``FlagError``, ``ConfigError``, ``HelpWanted``, ``VersionWanted``."""
    given = _given(arguments, environment)
    member, log_config = _settings(given.values)
    return Settings(member, log_config, given.warnings)


def _given(arguments: Sequence[str], environment: Mapping[str, str]) -> Given:
    flag_set = FlagSet(FLAGS, PREFIX, FOREIGN_VARIABLES, ETCDS_PREFIX)
    given = Given()
    flag_set.read_command_line(arguments, given)
    if given.values.get(VERSION.name):
        raise VersionWanted
    path = given.values.get(CONFIG_FILE.name) or environment.get(flag_set.variable(CONFIG_FILE.name), "")
    if not path:
        flag_set.read_environment(environment, given)
        return given
    given = Given()  # as etcd does: what else was given does not count
    flag_set.read_settings(path, _flat(_yaml(path)), given)
    given.warn(
        "loaded server configuration, other configuration command line flags and environment variables will be "
        "ignored if provided",
        path=path,
    )
    return given


def _yaml(path: str) -> dict[str, Any]:
    import yaml

    try:
        with open(path, encoding="utf-8") as file:
            found = yaml.safe_load(file)
    except OSError as error:
        raise FlagError(f"open {path}: {error.strerror}", 1) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise FlagError(f"{path}: {error}".replace("\n", " "), 1) from error
    if not isinstance(found, dict):
        raise FlagError(f"{path}: keys and values are due", 1)
    return found


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    """The sections' keys under the names of their flags, as all others are."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if key not in SECTIONS:
            flat[str(key)] = value
            continue
        if not isinstance(value, dict):
            raise FlagError(f"invalid {key}", 1)
        prefix, shared_prefix = SECTIONS[key]
        for name, setting in value.items():
            shared = SECTION_KEYS.get(name)
            flat[f"{shared_prefix}{shared}" if shared else f"{prefix}{name}"] = setting
    return flat


def _settings(values: Mapping[str, Any]) -> tuple[MemberConfig, LogConfig]:
    """The values in the places that their rows name, and those that follow from others."""
    from kvraft.server.config import MAX_QUOTA_BYTES, MemberConfig, TlsConfig, parse_initial_cluster

    places: dict[str, dict[str, Any]] = {"": {}, "log": {}, "client_tls": {}, "peer_tls": {}, "both_tls": {}}
    for group in GROUPS.values():
        for flag in group:
            if flag.field:
                part, _, field = flag.field.rpartition(".")
                places[part][field] = values.get(flag.name, flag.default)
    member = places[""]
    member["data_dir"] = Path(member["data_dir"] or f"{member['name']}.etcd")
    member["wal_dir"] = Path(member["wal_dir"]) if member["wal_dir"] else None
    quota = member["quota_backend_bytes"]
    member["quota_backend_bytes"] = quota if quota > 0 else MAX_QUOTA_BYTES if quota < 0 else 2 << 30
    member["advertise_client_urls"] = member["advertise_client_urls"] or _reachable(member["listen_client_urls"])
    peer_urls = member["initial_advertise_peer_urls"] or _reachable(member["listen_peer_urls"])
    member["initial_advertise_peer_urls"] = peer_urls
    member["initial_cluster"] = parse_initial_cluster(member["initial_cluster"]) or {member["name"]: peer_urls}
    return (
        MemberConfig(
            **member,
            client_tls=TlsConfig(**places["client_tls"], **places["both_tls"]),
            peer_tls=TlsConfig(flag_prefix="--peer-", **places["peer_tls"], **places["both_tls"]),
        ),
        _log_config(**places["log"]),
    )


def _log_config(*, rotate: bool, rotation_json: str, **settings: Any) -> LogConfig:
    config = LogConfig(**settings)
    if not rotate:
        return config
    from kvraft.rotation import parse_rotation

    if len(config.files) != 1:
        raise FlagError("--log-outputs requires a single file path when --log-rotate-config-json is defined", 1)
    try:
        return attrs.evolve(config, rotation=parse_rotation(rotation_json))
    except ValueError as error:
        raise FlagError(f"--log-rotation-config-json: {error}", 1) from None


def _reachable(urls: tuple[str, ...]) -> tuple[str, ...]:
    """What to advertise for URLs listened on: nobody can connect to "every address"."""
    return tuple(url.replace("//0.0.0.0:", "//localhost:").replace("//[::]:", "//localhost:") for url in urls)


def main(arguments: Sequence[str]) -> int:
    """Serve until SIGTERM or SIGINT, of which the process then dies; 1 with one line on standard error otherwise."""
    from kvraft.server.config import ConfigError

    try:
        settings = load(arguments, os.environ)
        configure(settings.log)
    except HelpWanted:
        print(help_text())
        return 0
    except VersionWanted:
        print(version_text())
        return 0
    except FlagError as error:
        if error.code == 2:
            print(USAGE, file=sys.stderr)
        print(f"kvraft: {error}", file=sys.stderr)  # last: that is what people, and supervisors, look at
        return error.code
    except (ConfigError, OSError) as error:
        print(f"kvraft: {error}".replace("\n", " "), file=sys.stderr)
        return 1
    for message, values in settings.warnings:
        log.warning(message, extra=fields(**values))
    from kvraft.cli.process import run_member

    return run_member(settings.member)
