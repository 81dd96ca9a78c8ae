"""Which firewalls come before the network, by what stands before what in the order of a host's units."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from crossnet.facts.boot_order import BEFORE_NETWORK, parse_before_network

SHELLS = [shell for shell in (["dash"], ["bash"], ["busybox", "sh"]) if shutil.which(shell[0])]
# As `systemctl show -p After` tells it: only what stands next, and names with a backslash.
ORDER = {
    "nftables.service": "-.mount dev-disk-by\\x2dlabel-a.device local-fs.target",
    "iptables.service": "site.service",
    "ip6tables.service": "basic.target",
    "site.service": "network.target",
    "network.target": "network-pre.target site-again.service",
    "site-again.service": "network.target",
    "basic.target": "sysinit.target",
    "sysinit.target": "local-fs.target",
}
SYSTEMCTL = """\
#!/bin/sh
property=$3
shift 4
for unit; do
    [ -e "{folder}/$unit" ] && state=loaded || state=not-found
    case $property in
        LoadState) echo "LoadState=$state" ;;
        *) echo "After=$(cat "{folder}/$unit" 2>/dev/null)" ;;
    esac
done
"""


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_a_firewall_waits_for_the_network_also_over_others(shell: list[str], tmp_path: Path) -> None:
    for unit, after in ORDER.items():
        (tmp_path / unit).write_text(after)
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "systemctl").write_text(SYSTEMCTL.format(folder=tmp_path))
    (tools / "systemctl").chmod(0o755)
    _, _, script, *words = BEFORE_NETWORK.argv
    place = tmp_path / "private"
    with socket.socket(socket.AF_UNIX) as there:
        there.bind(str(place))
        run = subprocess.run(
            [*shell, "-c", script.replace("/run/systemd/private", str(place)), *words],
            env={"PATH": f"{tools}{os.pathsep}/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    assert run.stderr == ""
    assert parse_before_network(run.stdout) == {"nftables.service", "ip6tables.service"}
