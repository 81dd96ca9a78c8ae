"""Where a host is asked for IPsec policies and tc, through every shell that it may have."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from crossnet.facts.programs import PROGRAMS, parse_programs
from transport.shells import SHELLS, through

BOTH = "ingress, ipsec"
# What /proc/net/netlink has, by the protocol.
NETLINK = "sk               Eth Pid        Groups   Rmem\n{}"
SOCKET = "00000000f6c8a7f3 {:<3} {:<10} 00000000 0\n"


def asked(shell: tuple[str, ...], root: Path, there: dict[str, str], *, plain: bool = False) -> str:
    """Which of the tools the script runs on a host that has these files; `plain`, what it prints."""
    through(shell)
    for path, text in {"sys/module/ipv6/x": "", "bin/tc": "echo ingress", "bin/ip": "echo ipsec"}.items():
        there.setdefault(path, text)
    for path, text in there.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(f"#!/bin/sh\n{text}\n" if path.startswith("bin/") else text)
    for tool in ("tc", "ip"):
        (root / "bin" / tool).chmod(0o755)
    script = re.sub(r"(?<!\w)/(proc|sys|lib/modules)/", lambda found: f"{root}{found[0]}", PROGRAMS.argv[2])
    ran = subprocess.run(
        [*shell, "-c", script],
        env={"PATH": f"{root}/bin:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stderr == ""
    return ran.stdout if plain else ", ".join(ran.stdout.split())


MODULE = "lib/modules/6.1.0-9/kernel/net/sched/sch_ingress.ko.xz"
PLAIN = {
    "proc/modules": "",
    "proc/sys/kernel/osrelease": "6.1.0-9\n",
    "proc/net/netlink": NETLINK.format(SOCKET.format(0, 0) + SOCKET.format(7, 0) + SOCKET.format(16, 6)),
    MODULE: "",
}
IPSEC = NETLINK.format(SOCKET.format(0, 0) + SOCKET.format(6, 0) + SOCKET.format(7, 0))


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, ""),
        ({"proc/net/netlink": IPSEC}, "ipsec"),  # whether it is built in or a module
        ({"proc/net/pfkey": ""}, "ipsec"),
        ({"proc/net/netlink": None}, "ipsec"),
        ({"sys/module/sch_ingress/refcnt": "0"}, "ingress"),
        ({MODULE: None}, "ingress"),  # built in, or not there at all
        ({"proc/sys/kernel/osrelease": "6.1.0-10\n"}, "ingress"),
        ({"proc/modules": None}, "ingress"),
        ({"proc/net/netlink": IPSEC, "proc/modules": None}, BOTH),
    ],
)
def test_the_host_is_asked_where_the_kernel_may_have_it(
    shell: tuple[str, ...], tmp_path: Path, changed: dict[str, str | None], expected: str
) -> None:
    there = {path: text for path, text in {**PLAIN, **changed}.items() if text is not None}
    assert asked(shell, tmp_path, there) == expected


QDISCS = "qdisc {0} ffff: dev eth0 parent ffff:fff1{1}\nqdisc fq_codel 0: dev eth1 root refcnt 2"


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
@pytest.mark.parametrize(
    ("kind", "more", "filters", "expected"),
    [
        ("clsact", "", "", {}),
        ("ingress", "", "", {}),
        ("clsact", "", "filter protocol all pref 1 bpf chain 0", {"eth0": "tc qdisc clsact dev eth0"}),
        ("ingress", "", "filter protocol ip pref 1 u32", {"eth0": "tc qdisc ingress dev eth0"}),
        ("clsact", " ingress_block 1", "", {"eth0": "tc qdisc clsact dev eth0"}),
        ("clsact", "", "Error: not known", {"eth0": "tc qdisc clsact dev eth0"}),
    ],
)
def test_a_hook_of_tc_without_a_filter_does_nothing(
    shell: tuple[str, ...], tmp_path: Path, kind: str, more: str, filters: str, expected: dict[str, str]
) -> None:
    listed = "\n".join(f"echo '{line}'" for line in QDISCS.format(kind, more).splitlines())
    says = f"[ -z '{filters}' ] || echo '{filters}'"
    there = {"bin/tc": f"case $1 in qdisc) {listed} ;; filter) {says} ;; esac", "proc/net/pfkey": ""}
    told = asked(shell, tmp_path, {**there, "bin/ip": ":"}, plain=True)
    assert parse_programs(told).classifiers == expected
