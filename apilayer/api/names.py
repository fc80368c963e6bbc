"""Rules for names: DNS labels and subdomains, label keys and values, ports, variables, keys of maps.

Each function takes a text and returns what is wrong with it, in Kubernetes' words; nothing wrong is []. Source:
apimachinery's ``util/validation`` and ``api/validation``.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable

NameRule = Callable[[str], list[str]]

DNS_LABEL_MAX = 63
DNS_SUBDOMAIN_MAX = 253
LABEL_MAX = 63
GENERATE_NAME_SUFFIX = 5
MAX_ANNOTATIONS_BYTES = 256 * 1024
MAX_DATA_BYTES = 1024 * 1024

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_QUALIFIED = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"

_LABEL_RE = re.compile(_LABEL)
_SUBDOMAIN_RE = re.compile(_SUBDOMAIN)
_LABEL_1035_RE = re.compile("[a-z]([-a-z0-9]*[a-z0-9])?")
_WILDCARD_RE = re.compile(rf"\*\.{_SUBDOMAIN}")
_QUALIFIED_RE = re.compile(_QUALIFIED)
_LABEL_VALUE_RE = re.compile(f"({_QUALIFIED})?")
_CONFIG_KEY_RE = re.compile("[-._a-zA-Z0-9]+")
_HTTP_HEADER_RE = re.compile("[-A-Za-z0-9]+")
_PERCENT_RE = re.compile("[0-9]+%")
_PORT_RE = re.compile("[-a-z0-9]+")
_HTTP_PATH_RE = re.compile(r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+")

LABEL_MESSAGE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and"
    " end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is"
    f" '{_LABEL}')"
)
SUBDOMAIN_MESSAGE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must"
    " start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is"
    f" '{_SUBDOMAIN}')"
)
LABEL_1035_MESSAGE = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic"
    " character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for"
    " validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
)
QUALIFIED_MESSAGE = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric"
    " character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is"
    f" '{_QUALIFIED}')"
)
LABEL_VALUE_MESSAGE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must"
    " start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used"
    f" for validation is '({_QUALIFIED})?')"
)
CONFIG_KEY_MESSAGE = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or"
    " 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
)
ENV_NAME_MESSAGE = "a valid environment variable name must consist only of printable ASCII characters other than '='"
HTTP_HEADER_MESSAGE = (
    "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for"
    " validation is '[-A-Za-z0-9]+')"
)
PERCENT_MESSAGE = (
    "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex"
    " used for validation is '[0-9]+%')"
)
WILDCARD_MESSAGE = (
    "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of"
    " lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com',"
    rf" regex used for validation is '\*\.{_SUBDOMAIN}')"
)
CIDR_MESSAGE = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
IP_MESSAGE = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"


def _pattern(text: str, pattern: re.Pattern[str], message: str, max_length: int, unit: str = "characters") -> list[str]:
    if len(text) <= max_length and pattern.fullmatch(text):
        return []
    wrong = []
    if len(text.encode()) > max_length:
        wrong.append(f"must be no more than {max_length} {unit}")
    if not pattern.fullmatch(text):
        wrong.append(message)
    return wrong


def dns_label(text: str) -> list[str]:
    """RFC 1123 label, at most 63 characters."""
    return _pattern(text, _LABEL_RE, LABEL_MESSAGE, DNS_LABEL_MAX)


def dns_subdomain(text: str) -> list[str]:
    """RFC 1123 subdomain, at most 253 characters: the name rule of most kinds."""
    return _pattern(text, _SUBDOMAIN_RE, SUBDOMAIN_MESSAGE, DNS_SUBDOMAIN_MAX)


def dns_label_1035(text: str) -> list[str]:
    """RFC 1035 label: as `dns_label`, starting with a letter."""
    return _pattern(text, _LABEL_1035_RE, LABEL_1035_MESSAGE, DNS_LABEL_MAX)


def namespace_name(text: str) -> list[str]:
    """Name of a namespace: a label, with a message of its own for dots."""
    wrong = dns_label(text)
    if "." in text:
        wrong = [message for message in wrong if message != LABEL_MESSAGE]
        wrong.append("must not contain dots")
    return wrong


def path_segment(text: str) -> list[str]:
    """A name that can stand in a URL path; the least that any kind asks."""
    if text in (".", ".."):
        return [f"may not be '{text}'"]
    return [f"may not contain '{char}'" for char in "/%" if char in text]


def path_segment_prefix(text: str) -> list[str]:
    """As `path_segment` for a prefix of a name, e.g. a generateName."""
    return [f"may not contain '{char}'" for char in "/%" if char in text]


def for_prefix(text: str) -> str:
    """A generateName changed so that a rule for whole names fits it: a trailing dash may be followed."""
    return text[:-2] + "a" if len(text) > 1 and text.endswith("-") else text


def qualified_name(text: str) -> list[str]:
    """Key of a label: a name of at most 63 bytes after an optional DNS prefix and "/"."""
    if len(text) <= LABEL_MAX and _QUALIFIED_RE.fullmatch(text):
        return []
    wrong = []
    prefix, slash, name = text.rpartition("/")
    if "/" in prefix:
        return [
            f"a valid label key {QUALIFIED_MESSAGE} with an optional DNS subdomain prefix and '/'"
            " (e.g. 'example.com/MyName')"
        ]
    if slash and not prefix:
        wrong.append("prefix part must be non-empty")
    elif slash:
        wrong += [f"prefix part {message}" for message in dns_subdomain(prefix)]
    if not name:
        wrong.append("name part must be non-empty")
    elif len(name.encode()) > LABEL_MAX:
        wrong.append(f"name part must be no more than {LABEL_MAX} bytes")
    if not _QUALIFIED_RE.fullmatch(name):
        wrong.append(f"name part {QUALIFIED_MESSAGE}")
    return wrong


def label_value(text: str) -> list[str]:
    """Value of a label: at most 63 bytes, may be empty."""
    return _pattern(text, _LABEL_VALUE_RE, LABEL_VALUE_MESSAGE, LABEL_MAX, "bytes")


def config_key(text: str) -> list[str]:
    """Key of a ConfigMap's or Secret's data: usable as a file name."""
    wrong = []
    if len(text.encode()) > DNS_SUBDOMAIN_MAX:
        wrong.append(f"must be no more than {DNS_SUBDOMAIN_MAX} characters")
    if not _CONFIG_KEY_RE.fullmatch(text):
        wrong.append(CONFIG_KEY_MESSAGE)
    return wrong + _dots(text)


def _dots(text: str) -> list[str]:
    if text in (".", ".."):
        return [f"must not be '{text}'"]
    return ["must not start with '..'"] if text.startswith("..") else []


def env_name(text: str) -> list[str]:
    """Name of an environment variable: printable ASCII without "="."""
    if text and text.isascii() and text.isprintable() and "=" not in text:
        return []
    return [ENV_NAME_MESSAGE]


def port_name(text: str) -> list[str]:
    """Name of a port: IANA service name, at most 15 characters."""
    wrong = []
    if len(text) > 15:
        wrong.append("must be no more than 15 characters")
    if not _PORT_RE.fullmatch(text):
        wrong.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not any("a" <= char <= "z" for char in text):
        wrong.append("must contain at least one letter (a-z)")
    if "--" in text:
        wrong.append("must not contain consecutive hyphens")
    if text.startswith("-") or text.endswith("-"):
        wrong.append("must not begin or end with a hyphen")
    return wrong


def port_number(number: int) -> list[str]:
    """A TCP or UDP port."""
    return [] if 1 <= number <= 65535 else ["must be between 1 and 65535, inclusive"]


def in_range(number: int, low: int, high: int) -> list[str]:
    """A number from `low` to `high`."""
    return [] if low <= number <= high else [f"must be between {low} and {high}, inclusive"]


def http_header(text: str) -> list[str]:
    """Name of an HTTP header."""
    return [] if _HTTP_HEADER_RE.fullmatch(text) else [HTTP_HEADER_MESSAGE]


def percent(text: str) -> list[str]:
    """A percentage such as "25%"."""
    return [] if _PERCENT_RE.fullmatch(text) else [PERCENT_MESSAGE]


def ip_address(text: str) -> list[str]:
    """An IPv4 or IPv6 address without zone."""
    return [] if parse_ip(text) is not None else [IP_MESSAGE]


def parse_ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address that `text` writes, or None."""
    try:
        return None if "%" in text else ipaddress.ip_address(text)
    except ValueError:
        return None


def domain_prefixed_path(text: str) -> list[str]:
    """A name of an owner's own, such as "acme.io/foo": a domain, a slash and a path."""
    if not text:
        return ['must be a domain-prefixed path (such as "acme.io/foo")']
    domain, slash, path = text.partition("/")
    if not slash or not domain or not path:
        return ['must be a domain-prefixed path (such as "acme.io/foo")']
    wrong = [f"prefix part {message}" for message in dns_subdomain(domain)]
    if not _HTTP_PATH_RE.fullmatch(path):
        wrong.append("Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')")
    return wrong


def cidr(text: str) -> list[str]:
    """A range of addresses such as "10.9.8.0/24"; bits beyond the prefix are tolerated."""
    return [] if parse_cidr(text) is not None else [CIDR_MESSAGE]


def parse_cidr(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """The range that `text` writes, or None."""
    address, slash, length = text.partition("/")
    if not slash or not (length.isascii() and length.isdecimal()) or parse_ip(address) is None:
        return None
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def wildcard_subdomain(text: str) -> list[str]:
    """A subdomain whose first label is "*"."""
    wrong = [f"must be no more than {DNS_SUBDOMAIN_MAX} characters"] if len(text) > DNS_SUBDOMAIN_MAX else []
    return wrong if _WILDCARD_RE.fullmatch(text) else [*wrong, WILDCARD_MESSAGE]
