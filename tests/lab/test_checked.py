"""What is written for the next boot is tried before by the host's own programs, and one that says no has its way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from crossnet.errors import RolledBack
from crossnet.lab.build import Lab
from crossnet.persistence import ifupdown, network_scripts, start
from crossnet.resources import File
from lab.crossing import Bench

LabUp = Callable[..., Lab]

TO = "to: 10.0.44.0/24"
FOLDER = "/etc/sysconfig/network-scripts"
READ = "read what is to be written for the next boot"


def put_back(b: Bench, crossing: str) -> str:
    """What an apply says that is rolled back: and nothing is left of it, neither live nor for the next boot."""
    before = b.fingerprints()
    with pytest.raises(RolledBack) as back:
        b.apply(b.spec(crossing))
    assert b.differences(before) == []
    assert "Rolled back: every host was read again and is as it was before." in str(back.value)
    return str(back.value)


@pytest.mark.parametrize(
    ("firewall", "command", "path", "said"),
    [
        ("nftables", "nft -c -f -", start.NFT, "syntax error"),
        ("iptables", "-restore --noflush --test", "/etc/crossnet/iptables-4.rules", "line"),
    ],
)
def test_rules_that_their_tool_does_not_take(
    lab_up: LabUp, monkeypatch: pytest.MonkeyPatch, firewall: str, command: str, path: str, said: str
) -> None:
    written = start._file

    def spoilt(at: str, text: str, mode: int = 0o644, checked_by: tuple[str, ...] = ()) -> File:
        return written(at, f"{text}no rule\n" if at == path else text, mode, checked_by)

    monkeypatch.setattr(start, "_file", spoilt)
    told = put_back(Bench(lab_up("seed")), f"{TO}, firewall: {firewall}")
    assert f"{command}` {READ}, file {path}: exit code" in told
    assert said in told


def test_a_script_that_the_shell_does_not_take(lab_up: LabUp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ifupdown, "_TEXT", f"{ifupdown._TEXT}if then\n")
    b = Bench(lab_up("seed"))
    b.check("app", "mkdir -p /run/network /etc/network/if-up.d; echo eth0=eth0 >/run/network/ifstate")
    told = put_back(b, TO)
    assert f"app: had `sh -n` {READ}, file {ifupdown.PATH}: exit code 2:" in told
    assert "yntax error" in told


def test_a_file_of_others_that_a_shell_reads(lab_up: LabUp, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the shell does not take it as it was before, nobody can say whether crossnet's lines are at fault."""
    b = Bench(lab_up("seed"))
    b.check("app", f"mkdir -p {FOLDER}; touch {FOLDER}/ifup-eth; echo DEVICE=eth0 >{FOLDER}/ifcfg-eth0")
    route = "ADDRESS0=10.9.0.0\\nNETMASK0=255.255.0.0\\nGATEWAY0=10.0.43.9\\n"
    for theirs in (route, f"{route}if\\n"):
        b.check("app", f"printf '{theirs}' >{FOLDER}/route-eth0")
        b.apply(b.spec(TO))
        assert "ADDRESS1=10.0.44.0\n" in b.check("app", f"cat {FOLDER}/route-eth0")
        b.undo(b.spec(TO))

    written = network_scripts._numbered

    def spoilt(*words: Any, **more: Any) -> str:
        return f"{written(*words, **more)}if\n"

    monkeypatch.setattr(network_scripts, "_numbered", spoilt)
    b.check("app", f"printf '{route}' >{FOLDER}/route-eth0")
    told = put_back(b, TO)
    assert f"app: had `bash -n` {READ}, lines {FOLDER}/route-eth0: 4 lines: exit code 2:" in told
