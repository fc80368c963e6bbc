"""Flags to plugins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from apilayer.admission.choice import DEFAULT_ON, ORDER, Choice, ChoiceError, build, class_of
from apilayer.admission.configuration import MAX_FILE_BYTES, choose
from tests.apilayer.admitting import Cluster

if TYPE_CHECKING:
    from pathlib import Path


def test_defaults_are_those_of_kubernetes_in_its_order() -> None:
    names = Choice().names()
    assert set(names) == {name for name in DEFAULT_ON if ORDER[name] is not None}
    assert list(names) == [name for name in ORDER if name in names]
    assert [plugin.name for plugin in build(Choice(), Cluster().listers)] == list(names)


def test_each_plugin_has_the_name_it_is_chosen_by() -> None:
    names = [name for name, module in ORDER.items() if module is not None]
    assert [class_of(name).name for name in names] == names


def test_one_more_and_one_less() -> None:
    assert "NamespaceLifecycle" not in Choice(disable=("NamespaceLifecycle", "AlwaysDeny")).names()
    assert Choice(control=("NamespaceLifecycle",)).names() == ("NamespaceLifecycle",)
    assert "NamespaceLifecycle" in Choice(enable=("NamespaceLifecycle",)).names()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"enable": ["Nope"]}, 'enable-admission-plugins plugin "Nope" is unknown'),
        ({"disable": ["Nope"]}, 'disable-admission-plugins plugin "Nope" is unknown'),
        ({"control": ["Nope"]}, 'admission-control plugin "Nope" is unknown'),
        ({"enable": ["ImagePolicyWebhook"]}, 'enable-admission-plugins plugin "ImagePolicyWebhook" is not part of'),
        (
            {"enable": ["NamespaceLifecycle"], "disable": ["NamespaceLifecycle"]},
            r"\[NamespaceLifecycle\] in enable-admission-plugins and disable-admission-plugins overlapped",
        ),
        ({"enable": ["NamespaceLifecycle"], "control": ["NamespaceLifecycle"]}, "are mutually exclusive"),
    ],
)
def test_flags_that_cannot_be_used(flags: dict[str, list[str]], message: str) -> None:
    with pytest.raises(ChoiceError, match=message):
        choose(flags.get("enable", []), flags.get("disable", []), flags.get("control", []), None)


HEAD = "apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\n"


def test_configuration_is_inline_or_in_a_file_beside(tmp_path: Path) -> None:
    (tmp_path / "beside.yaml").write_text("limits: []\n")
    file = tmp_path / "admission.yaml"
    plugins = (
        "plugins:\n- name: PodSecurity\n  configuration: {a: 1}\n- name: EventRateLimit\n  path: beside.yaml\n"
        "- name: ResourceQuota\n"
    )
    file.write_text(HEAD + plugins)
    assert choose([], [], [], file).configuration == {"PodSecurity": {"a": 1}, "EventRateLimit": {"limits": []}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: b\n", "not an AdmissionConfiguration"),
        ("[]\n", "must be an object"),
        ("a: [\n", "not YAML"),
        (HEAD + "plugins: [{name: Nope}]\n", r"plugins\[0\].name: no plugin of this name"),
        (
            HEAD + "plugins: [{name: PodSecurity, configuration: []}]\n",
            r"plugins\[0\].configuration: must be an object",
        ),
        (HEAD + "plugins: [{name: PodSecurity, path: none.yaml}]\n", "none.yaml: No such file or directory"),
    ],
)
def test_a_file_that_cannot_be_used(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "admission.yaml"
    file.write_text(text)
    with pytest.raises(ChoiceError, match=message):
        choose([], [], [], file)


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    file = tmp_path / "admission.yaml"
    file.write_text(HEAD + "#" * MAX_FILE_BYTES)
    with pytest.raises(ChoiceError, match=f"larger than {MAX_FILE_BYTES} bytes"):
        choose([], [], [], file)
