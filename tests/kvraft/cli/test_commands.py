"""The commands as a whole: that all are there, help, the page, variables, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from kvraft.cli.commands import COMMANDS, NOUNS, find, flags_of
from kvraft.cli.completion import bash
from kvraft.cli.failures import CommandError
from kvraft.cli.flags import UsageError, read
from kvraft.cli.help import reference_page
from kvraft.cli.main import main
from kvraft.cli.options import GLOBAL_FLAGS, Options, read_options, settings

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "kvraft-command.md"


def _options(*words: str, **environment: str) -> Options:
    return read_options(read(GLOBAL_FLAGS, words), environment)


def test_every_command_has_its_function() -> None:
    for row in COMMANDS.values():
        module, _, name = row.run.partition(".")
        assert callable(getattr(import_module(f"kvraft.cli.{module}"), name)), row.name
        names = [flag.name for flag in flags_of(row)]
        assert len(names) == len(set(names)), row.name


def test_the_reference_page_is_current() -> None:
    assert PAGE.read_text() == reference_page(), "make flags writes it"


def test_a_command_is_found_among_flags() -> None:
    name, row, rest = find(["--endpoints", "get", "-w", "json", "member", "--debug", "list", "x"])
    assert (name, row) == ("member list", COMMANDS["member list"])
    assert rest == ["--endpoints", "get", "-w", "json", "--debug", "x"]
    assert find(["put", "lease", "list"]) == ("put", COMMANDS["put"], ["lease", "list"])
    assert find(["lease", "nope"])[:2] == ("lease", None)
    assert find(["--", "get"])[:2] == ("", None)


def test_flags_win_over_variables() -> None:
    options = _options("--endpoints=a:1", KVRAFTCTL_ENDPOINTS="b:2,c:3", KVRAFTCTL_WRITE_OUT="json", ETCDCTL_HEX="true")
    assert options.endpoints == ("a:1",)
    assert (options.write_out, options.hex) == ("json", False)
    assert _options(KVRAFTCTL_ENDPOINTS="b:2,c:3").endpoints == ("b:2", "c:3")
    with pytest.raises(UsageError, match='KVRAFTCTL_HEX: invalid argument "perhaps"'):
        _options(KVRAFTCTL_HEX="perhaps")


def test_credentials() -> None:
    assert _options("--user=u:p:q").credentials() == ("u", "p:q", False)
    assert _options("--user=u", "--password=p").credentials() == ("u", "p", False)
    assert _options("--user=u").credentials() == ("u", "", True)
    assert _options("--password=p").credentials() == ("", "", False)


def test_no_password_is_shown() -> None:
    for options in (_options("--user=root:secret"), _options("--user=root", "--password=secret")):
        assert "secret" not in repr(settings(options))
        assert "KVRAFTCTL_ENDPOINTS=[127.0.0.1:2379]" in settings(options)
    assert "secret" not in repr(_options("--user=root", "--password=secret"))


def test_endpoints_without_a_scheme_are_spoken_to_as_the_flags_say() -> None:
    assert _options().url("a:1") == "http://a:1"
    assert _options("--cacert=ca").url("a:1") == "https://a:1"
    assert _options("--insecure-transport=false").url("a:1") == "https://a:1"
    assert _options("--cacert=ca").url("http://a:1") == "http://a:1"
    for endpoint in ("a", "unix://a:1", "http://a:1/path"):
        with pytest.raises(CommandError):
            _options().url(endpoint)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["get", "a", "--cert="], 128, "empty string is passed to --cert option"),
        (["get", "a", "--cacert=nofile"], 128, "open nofile: no such file or directory"),
        (["get", "a", "--cert=nofile"], 128, "KeyFile and CertFile must both be present[key: , cert: nofile]"),
        (["get", "a", "--discovery-srv=x"], 4, "--discovery-srv is not supported"),
        (["get", "a", "-w", "xml"], 4, "unsupported output format"),
        (["put", "a", "b", "-w", "table"], 4, "table not supported as output format"),
        (["get", "a", "--endpoints=127.0.0.1"], 128, 'URL address does not have the form "host:port"'),
        (["watch", "a", "b", "c"], 128, "bad number of arguments"),
        (["completion", "fish"], 4, "unknown shell fish"),
        (["nope"], 1, 'unknown command "nope" for "kvraft"'),
        (["get", "--nope"], 1, "unknown flag: --nope"),
    ],
)
def test_what_is_refused(words: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == code
    assert capsys.readouterr().err.startswith(f"Error: {message}")


def test_nobody_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["get", "a", "--endpoints=127.0.0.1:1", "--command-timeout=50ms"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("Error: context deadline exceeded: ")
    assert "refused" in error


def test_help_is_for_everything(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["--help"], ["help"], ["help", "put"], ["put", "-h"], *([noun] for noun in sorted(NOUNS))):
        assert main(words) == 0
        assert capsys.readouterr().out.startswith("NAME:")
    assert main(["version"]) == 0
    assert capsys.readouterr().out.startswith("kvraft version: ")


def test_help_needs_no_client() -> None:
    script = (
        "import sys, kvraft.cli.main; kvraft.cli.main.main(['--help']); print({'trio', 'msgspec'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


@pytest.mark.parametrize(
    ("typed", "choices"),
    [
        (["me"], ["member"]),
        (["member", "a"], ["add"]),
        (["-w", "json", "member", "pro"], ["promote"]),
        (["get", "--pre"], ["--prefix"]),
        (["member", "add", "--pe"], ["--peer-urls="]),
        (["put", "--comm"], ["--command-timeout="]),
    ],
)
def test_bash_completes(typed: list[str], choices: list[str]) -> None:
    quoted = " ".join(f"'{word}'" for word in ("kvraft", *typed))
    script = f'{bash()}\nCOMP_WORDS=({quoted}); COMP_CWORD={len(typed)}; _kvraft; printf "%s\\n" "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == choices
    assert not done.stderr
