"""The flags that every command has, as etcdctl's: how members are reached, as whom, and how answers are shown."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

import attrs

from kvraft.cli.failures import BAD_FEATURE, CommandError, bad_arguments
from kvraft.cli.flags import BOOL, DURATION, LIST, STRING, CommandLine, Flag, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "KVRAFTCTL_"
"""Environment variables have a flag's name after it, in capitals; a flag that is given wins."""

COMMAND_TIMEOUT = Flag("command-timeout", DURATION, 5.0, "timeout for short running command (excluding dial timeout)")
GLOBAL_FLAGS = (
    Flag("cacert", STRING, "", "verify certificates of TLS-enabled secure servers using this CA bundle"),
    Flag("cert", STRING, "", "identify secure client using this TLS certificate file"),
    COMMAND_TIMEOUT,
    Flag("debug", BOOL, False, "show the settings that come from flags and environment"),
    Flag("dial-timeout", DURATION, 2.0, "dial timeout for client connections"),
    Flag("discovery-srv", STRING, "", "not supported: endpoints are not looked up in DNS; give --endpoints", "d"),
    Flag("discovery-srv-name", STRING, "", "not supported, as --discovery-srv"),
    Flag("endpoints", LIST, ("127.0.0.1:2379",), "endpoints: host:port, or URLs"),
    Flag("hex", BOOL, False, "print byte strings as hex encoded strings"),
    Flag("insecure-discovery", BOOL, True, "without effect, as there is no discovery"),
    Flag("insecure-skip-tls-verify", BOOL, False, "skip server certificate verification (for testing purposes only)"),
    Flag("insecure-transport", BOOL, True, "disable transport security for client connections"),
    Flag("keepalive-time", DURATION, 2.0, "keepalive time for client connections"),
    Flag("keepalive-timeout", DURATION, 6.0, "keepalive timeout for client connections"),
    Flag("key", STRING, "", "identify secure client using this TLS key file"),
    Flag(
        "password",
        STRING,
        "",
        "password for authentication (if this option is used, --user option shouldn't include password)",
    ),
    Flag("user", STRING, "", "username[:password] for authentication (prompt if password is not supplied)"),
    Flag("write-out", STRING, "simple", "set the output format (fields, json, simple, table)", "w"),
)


@attrs.frozen
class Options:
    """The global flags' values. Times are seconds."""

    endpoints: tuple[str, ...]
    command_timeout: float
    dial_timeout: float
    keepalive_time: float
    keepalive_timeout: float
    cacert: str
    cert: str
    key: str
    insecure_skip_tls_verify: bool
    insecure_transport: bool
    user: str
    password: str = attrs.field(repr=False)
    write_out: str
    hex: bool
    debug: bool

    @property
    def is_secure(self) -> bool:
        """Whether an endpoint without a scheme is spoken to over TLS."""
        return bool(self.cacert or self.cert or self.key) or not self.insecure_transport

    def url(self, endpoint: str) -> str:
        """The URL of an endpoint. Raises ``CommandError``."""
        from kvraft.channel import split_url

        url = endpoint if "://" in endpoint else f"{'https' if self.is_secure else 'http'}://{endpoint}"
        try:
            split_url(url)
        except ValueError as error:
            raise bad_arguments(str(error)) from None
        return url

    def tls(self) -> ssl.SSLContext:
        """How TLS members are verified, and who we are. Raises ``CommandError``."""
        if bool(self.cert) != bool(self.key):
            raise bad_arguments(f"KeyFile and CertFile must both be present[key: {self.key}, cert: {self.cert}]")
        for path in filter(None, (self.cacert, self.cert, self.key)):
            try:
                with open(path, "rb"):
                    pass
            except OSError as error:
                raise bad_arguments(f"open {path}: {(error.strerror or str(error)).lower()}") from None
        try:
            context = ssl.create_default_context(cafile=self.cacert or None)
            if self.insecure_skip_tls_verify:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            if self.cert:
                context.load_cert_chain(self.cert, self.key, password="")
        except (ssl.SSLError, OSError) as error:
            raise bad_arguments(f"the files of --cacert, --cert and --key cannot be used: {error}") from None
        return context

    def credentials(self) -> tuple[str, str, bool]:
        """User, password, and whether the password must be asked for. No user: "" and ""."""
        if not self.user:
            return "", "", False
        if self.password:
            return self.user, self.password, False
        name, colon, password = self.user.partition(":")
        return name, password, not colon


def read_options(line: CommandLine, environment: Mapping[str, str]) -> Options:
    """The global flags from the command line, then the environment, then the defaults.

    Raises ``UsageError`` for a variable that cannot be read, ``CommandError`` for what is refused.
    """
    values: dict[str, Any] = {}
    for flag in GLOBAL_FLAGS:
        if flag.name in line.values:
            values[flag.name] = line.values[flag.name]
        elif environment.get(variable(flag)):
            try:
                values[flag.name] = flag.parse(environment[variable(flag)])
            except UsageError as error:
                raise UsageError(f"{variable(flag)}: {error}") from None
        else:
            values[flag.name] = flag.default
    for name in ("cert", "key", "cacert"):
        if name in line.values and not values[name]:
            raise bad_arguments(f"empty string is passed to --{name} option")
    if values["discovery-srv"]:
        raise CommandError(
            "--discovery-srv is not supported: endpoints are not looked up in DNS; give them with --endpoints",
            BAD_FEATURE,
        )
    names = {field.name for field in attrs.fields(Options)}
    known = {name.replace("-", "_"): value for name, value in values.items()}
    return Options(**{name: value for name, value in known.items() if name in names})


def variable(flag: Flag) -> str:
    """The environment variable of a flag."""
    return PREFIX + flag.name.upper().replace("-", "_")


def settings(options: Options) -> list[str]:
    """What ``--debug`` shows: each option as its variable; passwords are not shown."""
    lines = []
    for flag in GLOBAL_FLAGS:
        value = getattr(options, flag.name.replace("-", "_"), flag.default)
        if flag.name == "password":
            value = "***" if value else ""
        elif flag.name == "user" and ":" in value:
            value = f"{value.partition(':')[0]}:***"
        shown = value if flag.kind is STRING else flag.kind.show(value)
        lines.append(f"{variable(flag)}={shown}")
    return lines
