"""Flags of ``kvraft serve``: read as Go reads etcd's, from the command line, the environment or a file."""

from __future__ import annotations

import re
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvraft.cli.goflags import FlagError, HelpWanted
from kvraft.cli.main import main
from kvraft.cli.serve import Settings, load
from kvraft.cli.serve_flags import FLAGS, GROUPS
from kvraft.cli.serve_help import help_text, reference_page
from kvraft.durations import format_duration, parse_duration
from kvraft.server.config import MAX_QUOTA_BYTES, ConfigError, MemberConfig

ROOT = Path(__file__).parents[3]


def _load(*flags: str, **variables: str) -> Settings:
    return load(flags, variables)


def _config(*flags: str, **variables: str) -> MemberConfig:
    return _load(*flags, **variables).member


def test_the_defaults_are_etcds() -> None:
    config = _config()
    assert config.name == "default"
    assert str(config.data_dir) == "default.etcd"
    assert config.listen_client_urls == config.advertise_client_urls == ("http://localhost:2379",)
    assert config.listen_peer_urls == config.initial_advertise_peer_urls == ("http://localhost:2380",)
    assert config.initial_cluster == {"default": ("http://localhost:2380",)}
    assert (config.heartbeat_ms, config.election_ms, config.snapshot_count) == (100, 1000, 10_000)
    assert (config.quota_backend_bytes, config.max_request_bytes) == (2 << 30, 1_572_864)
    assert config.client_tls.min_version == "TLS1.2"
    assert _load().warnings == []


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        (["--name=a"], "a"),
        (["--name", "a"], "a"),
        (["-name=a"], "a"),
        (["-name", "a"], "a"),
        (["--name", "a", "-name=b", "--name", "c"], "c"),
        (["--name", "--odd"], "--odd"),
        (["--name=a=b"], "a=b"),
        (["--name", "a", "--"], "a"),
    ],
)
def test_values_are_written_in_every_way_that_go_takes(flags: list[str], name: str) -> None:
    assert _config(*flags).name == name


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--client-cert-auth", True),
        ("-client-cert-auth", True),
        ("--client-cert-auth=true", True),
        ("--client-cert-auth=T", True),
        ("--client-cert-auth=0", False),
        ("--client-cert-auth=false", False),
    ],
)
def test_booleans_are_written_as_for_etcd(flag: str, value: bool) -> None:
    assert _config(flag).client_tls.client_cert_auth is value


@pytest.mark.parametrize(
    ("flags", "message", "code"),
    [
        (["--no-such-flag"], "flag provided but not defined: -no-such-flag", 2),
        (["--listen-client", "x"], "flag provided but not defined: -listen-client", 2),
        (["--name"], "flag needs an argument: -name", 2),
        (["---name=x"], "bad flag syntax: ---name=x", 2),
        (["--=x"], "bad flag syntax: --=x", 2),
        (["--heartbeat-interval", "soon"], 'invalid value "soon" for flag -heartbeat-interval: parse error', 2),
        (["--heartbeat-interval=-1"], 'invalid value "-1" for flag -heartbeat-interval: parse error', 2),
        (["--auto-tls=maybe"], 'invalid boolean value "maybe" for -auto-tls: parse error', 2),
        (["--warning-apply-duration=1"], 'invalid value "1" for flag -warning-apply-duration: parse error', 2),
        ([f"--quota-backend-bytes={1 << 64}"], "value out of range", 2),
        (["--client-cert-auth", "true"], '"true" is not a valid flag', 1),
        (["--name", "a", "--", "b"], '"b" is not a valid flag', 1),
        (["--initial-cluster-state", "odd"], "invalid value 'odd'", 2),
        (["--enable-log-rotation"], "--log-outputs requires a single file path when --log-rotate-config-json is", 1),
        (["--enable-log-rotation", "--log-outputs=/a,/b"], "--log-outputs requires a single file path", 1),
        (
            ["--enable-log-rotation", "--log-outputs=/a", "--log-rotation-config-json={"],
            "--log-rotation-config-json: improperly formatted log rotation config: Expecting property name",
            1,
        ),
        (
            ["--enable-log-rotation", "--log-outputs=/a", '--log-rotation-config-json={"maxage": -1}'],
            "invalid log rotation config: maxage: int is due, not -1",
            1,
        ),
        (
            ["--enable-log-rotation", "--log-outputs=/a", '--log-rotation-config-json={"compress": 1}'],
            "invalid log rotation config: compress: bool is due, not 1",
            1,
        ),
        (["--proxy=on"], "--proxy is not supported: there is no v2 proxy", 1),
        (["--metrics=all"], "invalid value 'all'", 2),
        (["--discovery-srv", "example.com"], "--discovery-srv is not supported: a cluster is made from", 1),
    ],
)
def test_mistakes_are_told_in_gos_words(flags: list[str], message: str, code: int) -> None:
    with pytest.raises(FlagError) as caught:
        _load(*flags)
    assert message in str(caught.value)
    assert caught.value.code == code


def test_what_a_refused_flag_asks_for_may_be_what_holds_anyway() -> None:
    settings = _load("--pre-vote=true", "--enable-v2=false", "--discovery=", "--proxy=off", "--enable-pprof=false")
    assert settings.warnings == []


def test_flags_without_a_meaning_are_ignored_with_the_reason() -> None:
    settings = _load(
        *("--max-wals=10", "--backend-bbolt-freelist-type=array", "--logger=zap", "--memory-mlock", "--enable-pprof"),
        *("--pre-vote=false", "--proxy-dial-timeout=9"),
    )
    reasons = {str(values["flag"]): values["reason"] for _, values in settings.warnings}
    assert reasons == {
        "--max-wals": "the log is one file",
        "--backend-bbolt-freelist-type": "the state is not kept in bbolt",
        "--memory-mlock": "the pages are those of the kernel's page cache",
        "--enable-pprof": "there is no Go runtime to profile",
        "--pre-vote": "it is always on",
        "--proxy-dial-timeout": "there is no v2 proxy",
    }


def test_older_spellings_still_work() -> None:
    assert _config("--socket-reuse-port", "--metrics=extensive").socket_reuse_port
    settings = _load("--experimental-warning-apply-duration=250ms")
    assert settings.member.warning_apply_seconds == 0.25
    assert [message for message, _ in settings.warnings] == [
        "--experimental-warning-apply-duration is deprecated. Use '--warning-apply-duration' instead."
    ]


def test_the_environment_counts_where_the_command_line_is_silent() -> None:
    settings = _load(
        "--name=flag",
        KVRAFT_NAME="variable",
        KVRAFT_DATA_DIR="somewhere",
        KVRAFT_CLIENT_CERT_AUTH="true",
        KVRAFT_LISTEN_CLIENT_URLS="http://127.0.0.1:1,http://127.0.0.1:2",
        KVRAFT_NONSENSE="1",
        KVRAFT_FAILPOINTS="log.after_write=error@1000",
        KVRAFT_SNAPSHOT_COUNT="",
        ETCD_INITIAL_CLUSTER_TOKEN="etcds",
        ETCD_NAME="etcds",
        ETCD_VERSION_OF_OUR_IMAGE="1",
    )
    config = settings.member
    assert (config.name, str(config.data_dir), config.client_tls.client_cert_auth) == ("flag", "somewhere", True)
    assert config.listen_client_urls == ("http://127.0.0.1:1", "http://127.0.0.1:2")
    assert (config.snapshot_count, config.initial_cluster_token) == (10_000, "etcd-cluster")
    warned = [(message.split(" (")[0], values["environment-variable"]) for message, values in settings.warnings]
    assert warned == [
        ("environment variable is not read - KVRAFT_INITIAL_CLUSTER_TOKEN is", "ETCD_INITIAL_CLUSTER_TOKEN"),
        (
            "conflicting environment variable is shadowed by corresponding command-line flag",
            "KVRAFT_NAME",
        ),
        ("unrecognized environment variable", "KVRAFT_NONSENSE"),
    ]
    with pytest.raises(FlagError, match='invalid value "x" for KVRAFT_HEARTBEAT_INTERVAL: parse error'):
        _load(KVRAFT_HEARTBEAT_INTERVAL="x")


FILE = """\
name: m1
data-dir: /var/lib/x
heartbeat-interval: 200
election-timeout: 2000
quota-backend-bytes: 4294967296
listen-client-urls: https://127.0.0.1:2379,https://10.0.0.1:2379
advertise-client-urls: https://127.0.0.1:2379
listen-metrics-urls: http://127.0.0.1:2381
initial-cluster: m1=http://localhost:2380
warning-apply-duration: 200000000
client-transport-security:
  cert-file: /c.pem
  key-file: /k.pem
  client-cert-auth: true
  trusted-ca-file: /ca.pem
  client-crl-file: /crl.pem
peer-transport-security:
  auto-tls: false
  allowed-cn: one
  client-cert-file: /pc.pem
cipher-suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]
log-outputs: [stderr, /var/log/x.log]
log-level: warn
pre-vote: true
no-such-key: 1
"""


def test_a_configuration_file_counts_alone(tmp_path: Path) -> None:
    path = tmp_path / "etcd.yaml"
    path.write_text(FILE)
    settings = _load("--name=flag", "--config-file", str(path), KVRAFT_SNAPSHOT_COUNT="5")
    config, tls = settings.member, settings.member.client_tls
    assert (config.name, config.heartbeat_ms, config.election_ms) == ("m1", 200, 2000)
    assert (config.snapshot_count, config.quota_backend_bytes) == (10_000, 4 << 30)
    assert config.listen_client_urls == ("https://127.0.0.1:2379", "https://10.0.0.1:2379")
    assert config.listen_metrics_urls == ("http://127.0.0.1:2381",)
    assert config.warning_apply_seconds == 0.2
    assert (tls.cert_file, tls.key_file, tls.trusted_ca_file) == ("/c.pem", "/k.pem", "/ca.pem")
    assert (tls.client_cert_auth, tls.crl_file) == (True, "/crl.pem")
    assert tls.cipher_suites == config.peer_tls.cipher_suites == ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",)
    assert (config.peer_tls.allowed_cns, config.peer_tls.client_cert_file) == (("one",), "/pc.pem")
    assert (settings.log.level, settings.log.outputs) == ("warn", ("stderr", "/var/log/x.log"))
    unknown = [values["key"] for message, values in settings.warnings if message.startswith("unknown key")]
    assert unknown == ["no-such-key"]
    assert _config(KVRAFT_CONFIG_FILE=str(path)).name == "m1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: [", "x.yaml: while parsing"),
        ("- a", "keys and values are due"),
        ("heartbeat-interval: soon", "x.yaml: heartbeat-interval: a int is due, not a str"),
        ("snapshot-count: -1", "snapshot-count: a number of 0 or more is due"),
        ("client-transport-security: 1", "invalid client-transport-security"),
        ("peer-transport-security: {client-cert-auth: 1}", "peer-client-cert-auth: a bool is due, not a int"),
        ("log-level: loud", "log-level: invalid value 'loud'"),
        ("enable-v2: true", "--enable-v2 is not supported"),
    ],
)
def test_mistakes_in_a_file_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(FlagError, match=re.escape(message)) as caught:
        _load("--config-file", str(path))
    assert "\n" not in str(caught.value)
    assert caught.value.code == 1


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FlagError, match="No such file"):
        _load("--config-file", str(tmp_path / "none"))


def test_what_follows_from_other_flags() -> None:
    assert _config("--quota-backend-bytes=0").quota_backend_bytes == 2 << 30
    assert _config("--quota-backend-bytes=-1").quota_backend_bytes == MAX_QUOTA_BYTES
    everywhere = _config("--listen-client-urls=http://0.0.0.0:2379", "--listen-peer-urls=http://[::]:2380")
    assert everywhere.advertise_client_urls == ("http://localhost:2379",)
    assert everywhere.initial_cluster == {"default": ("http://localhost:2380",)}
    assert _config("--data-dir=x").wal_dir is None
    assert _config("--wal-dir=x").wal_dir == Path("x")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--tls-min-version=TLS1.1"], 'unexpected TLS version "TLS1.1" (must be one of: TLS1.2, TLS1.3)'),
        (["--tls-min-version=TLS1.3", "--tls-max-version=TLS1.2"], "min version (TLS1.3) is greater than max version"),
        (["--cipher-suites=NONE"], 'unexpected TLS cipher suite "NONE"'),
        (
            ["--tls-min-version=TLS1.3", "--cipher-suites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"],
            "cipher suites cannot be configured when only TLS1.3 is enabled",
        ),
        (["--peer-cert-allowed-cn=a", "--peer-cert-allowed-hostname=b"], "are mutually exclusive"),
    ],
)
def test_tls_settings_that_contradict_each_other(flags: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        _config(*flags)


def test_every_row_has_a_place_and_every_name_is_used_once() -> None:
    names = [name for flag in FLAGS for name in (flag.name, *flag.older)]
    assert len(names) == len(set(names))
    fields = {field.name for field in attrs.fields(MemberConfig)}
    for group in GROUPS.values():
        for flag in group:
            place = flag.field.partition(".")[0]
            assert place in {*fields, "both_tls", "log", ""}, flag.name
            assert not (flag.field and (flag.ignored or flag.refused)), flag.name
            assert flag.parse(flag.kind.show(flag.default)) == flag.default or flag.choices, flag.name


def test_help_names_every_flag_and_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(HelpWanted):
        _load("--help")
    assert main(["serve", "-h"]) == 0
    shown = capsys.readouterr().out
    assert shown.strip() == help_text().strip()
    assert all(f"  --{flag.name} '" in shown for group in GROUPS.values() for flag in group)
    for words in (["--version"], ["serve", "--version"]):
        assert main(words) == 0
        assert capsys.readouterr().out.startswith("kvraft Version: ")


def test_the_reference_page_is_current() -> None:
    page = ROOT / "docs" / "reference" / "serve-flags.md"
    assert page.read_text() == reference_page(), "make flags writes it"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("300ms", 0.3), ("1h30m", 5400), ("-1.5s", -1.5), ("1.5h", 5400), (".5s", 0.5), ("2us", 2e-6)],
)
def test_durations_are_gos(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "1", "s", "1 s", "1d", "--1s", "1s!", "9999999999h", "1e3s"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="invalid duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (1.5e-9 * 2, "3ns"),
        (0.0015, "1.5ms"),
        (0.1, "100ms"),
        (1, "1s"),
        (90.25, "1m30.25s"),
        (3600, "1h0m0s"),
        (-2.5, "-2.5s"),
    ],
)
def test_durations_are_written_as_go_does(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.integers(-(10**15), 10**15))
def test_durations_come_back(nanoseconds: int) -> None:
    assert round(parse_duration(format_duration(nanoseconds / 1e9)) * 1e9) == pytest.approx(nanoseconds, abs=1)
