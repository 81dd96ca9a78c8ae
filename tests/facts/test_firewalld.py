"""What firewalld 1.3.3 says of itself, as firewall-cmd prints it, and what it never says."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from crossnet.errors import HostError
from crossnet.facts.firewalld import FIREWALLD, UNSAVED, Firewalld
from crossnet.transport.batch import Answer

SAID = """\
== version 1.3.3
== default public
== zones
internal (active)
  target: default
  icmp-block-inversion: no
  interfaces: eth1 eth2
  sources: 
  services: dhcpv6-client ssh
  forward: yes
  rich rules: 
\trule family="ipv4" source address="1.2.3.4" drop

trusted
  target: ACCEPT
  interfaces: 
  sources: 
  forward: yes
  rich rules: 

== policy
crossnet (active)
  priority: -1
  target: CONTINUE
  ingress-zones: internal
  egress-zones: ANY
  rich rules: 
\trule family="ipv4" destination address="10.0.44.0/24" accept
\trule family="ipv6" destination address="fd00::/64" accept
"""


def said(text: str, code: int = 0) -> Firewalld | None:
    return FIREWALLD.meaning("gateway", Answer(code, text.encode(), b""))


def test_zones_and_the_policy() -> None:
    found = said(SAID)
    assert found is not None
    assert (found.version, found.default_zone, found.has_policies) == ((1, 3, 3), "public", True)
    internal = found.zone_of("eth2")
    assert internal is not None
    assert (internal.name, internal.rules) == (
        "internal",
        ('rule family="ipv4" source address="1.2.3.4" drop',),
    )
    assert found.zone_of("eth0") is None
    assert not found.tells_by_source
    assert found.policy is not None
    assert found.policy.of("egress-zones") == ("ANY",)
    assert len(found.policy.rules) == 2


def test_what_is_not_permanent() -> None:
    found = said(
        f"{SAID.partition('== policy')[0]}== policy\n== unsaved\n+ zone public: ports 99/tcp\n! Error: X\n"
    )
    assert found is not None
    assert found.policy is None
    assert (found.unsaved, found.broken) == (("+ zone public: ports 99/tcp",), "Error: X")


def test_an_old_one_knows_no_policies() -> None:
    found = said("== version 0.6.3\n== default public\n== zones\npublic (active)\n  interfaces: eth0\n")
    assert found is not None
    assert not found.has_policies


def test_none_runs() -> None:
    assert said("") is None


@pytest.mark.parametrize(
    "text", ["== version \n== default \n", "nonsense", "== version FirewallD is not running"]
)
def test_one_that_does_not_answer_is_an_error(text: str) -> None:
    with pytest.raises(HostError, match="firewalld runs and does not answer"):
        said(text)


def unsaved(tmp_path: Path, stub: str, shell: str = "sh") -> subprocess.CompletedProcess[str]:
    """What the host's script finds, with this as firewall-cmd."""
    tool = tmp_path / "firewall-cmd"
    tool.write_text(f"#!/bin/sh\n{stub}")
    tool.chmod(0o755)
    return subprocess.run(
        [shell, "-c", f"{UNSAVED}\nunsaved"],
        capture_output=True,
        text=True,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "LC_ALL": "C"},
        timeout=60,
        check=False,
    )


ENTRIES = """
case "$*" in
    *list-all-zones) printf 'public (active)\\n  services: ssh %s\\n' "$([ "$1" = --permanent ] || echo http)" ;;
    *list-all-policies) ;;
    *get-ipsets) echo block ;;
    *get-entries) seq -f 192.0.2.%.0f 20000; [ "$1" != --permanent ] || echo 198.51.100.1 ;;
esac
"""


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_what_a_reload_would_undo_is_found_among_any_number_of_settings(tmp_path: Path, shell: str) -> None:
    """A program takes 128 KiB as one argument."""
    found = unsaved(tmp_path, ENTRIES, shell)
    assert found.stderr == ""
    assert found.stdout.splitlines() == ["+ zone public: services http", "- ipset block: entry 198.51.100.1"]


@pytest.mark.parametrize("fails", ["list-all-zones", "list-all-policies", "get-ipsets", "get-entries"])
def test_what_was_not_listed_is_not_taken_for_nothing(tmp_path: Path, fails: str) -> None:
    assert unsaved(tmp_path, f'case "$*" in *{fails}*) exit 252 ;; esac\n{ENTRIES}').returncode != 0
    found = said(f"{SAID.partition('== policy')[0]}== policy\n== unsaved\n? it did not list all\n")
    assert found is not None
    assert found.uncompared == "it did not list all"
