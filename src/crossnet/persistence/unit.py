"""Persistence that works on every systemd host: files in /etc/crossnet and a unit that loads them at boot."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from crossnet.netfilter.iptables import delete_jump, insert_jump
from crossnet.resources import Command, File, Jump, Resource, RouteResource, RuleTable, Service, Sysctl
from crossnet.resources.route import restore_line
from crossnet.values import Family

FOLDER = "/etc/crossnet"
SYSCTL_FILE = "/etc/sysctl.d/99-zz-crossnet.conf"
UNIT = "crossnet.service"
UNIT_FILE = f"/etc/systemd/system/{UNIT}"

START = f"{FOLDER}/start"
ROUTES = f"{FOLDER}/routes"
NFT = f"{FOLDER}/rules.nft"


def _restore_file(family: Family) -> str:
    return f"{FOLDER}/iptables-{family.value}.rules"


def _ipset_file(family: Family) -> str:
    return f"{FOLDER}/ipset-{family.value}.rules"


FILES = (
    SYSCTL_FILE,
    UNIT_FILE,
    START,
    ROUTES,
    NFT,
    *(_restore_file(family) for family in Family),
    *(_ipset_file(family) for family in Family),
    Service(UNIT).link,
)

# After everything that may flush rules, and again when one of them is restarted; order only, so that nothing
# is started that the host would not start by itself. Routes need the interfaces up.
_UNIT_TEXT = f"""\
[Unit]
Description=crossnet: routes, rules and settings of its crossings
Documentation=man:ip-route(8) man:nft(8)
Wants=network-online.target
After=network-online.target nftables.service iptables.service ip6tables.service
After=netfilter-persistent.service firewalld.service ufw.service shorewall.service docker.service
After=libvirtd.service
PartOf=nftables.service iptables.service ip6tables.service netfilter-persistent.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh {START}
ExecReload=/bin/sh {START}

[Install]
WantedBy=multi-user.target
"""


def persistent(live: Sequence[Resource], crossings: Iterable[str]) -> tuple[Resource, ...]:
    """The files and the unit that bring `live` back at boot; nothing for nothing."""
    head = _head(crossings)
    script: list[str] = []
    files: list[File] = []

    settings = [item for item in live if isinstance(item, Sysctl)]
    if settings:
        lines = "".join(f"{_boot_name(item.name)} = {item.value}\n" for item in settings)
        files.append(_file(SYSCTL_FILE, head + lines))
        # Once more here, because a later file or /etc/sysctl.conf may say otherwise.
        script.append(f"try sysctl -q -e -p {SYSCTL_FILE}")

    tables = [item for item in live if isinstance(item, RuleTable)]
    nft = "".join(_stdin(step) for item in tables if not item.engine.is_iptables for step in _steps(item))
    if nft:
        files.append(_file(NFT, head + nft))
        script.append(f"try nft -f {NFT}")
    for table in (item for item in tables if item.engine.is_iptables):
        script += _iptables(table, head, files)
    for jump in (item for item in live if isinstance(item, Jump)):
        delete, insert = (
            " ".join((jump.command, "-w", *words))
            for words in (delete_jump(jump.chain), insert_jump(jump.chain))
        )
        # Once, and at the top, however often the unit is started.
        script.append(f"{delete} 2>/dev/null; try {insert}")

    routes = [item for item in live if isinstance(item, RouteResource)]
    if routes:
        lines = "".join(f"{restore_line(item.route)}\n" for item in routes)
        files.append(_file(ROUTES, head + lines))
        script.append(f"try ip -force -batch {ROUTES}")

    if not files:
        return ()
    start = "#!/bin/sh\n" + head + 'failed=0\ntry() { "$@" || failed=1; }\n' + "\n".join(script)
    files.append(_file(START, start + "\nexit $failed\n", mode=0o755))
    files.append(_file(UNIT_FILE, head + _UNIT_TEXT))
    return (*files, Service(UNIT))


def _iptables(table: RuleTable, head: str, files: list[File]) -> list[str]:
    lines = []
    for step in _steps(table):
        if step.argv[0] == "ipset":
            path = _ipset_file(table.family)
            lines.append(f"try ipset -exist -file {path} restore")
        else:
            path = _restore_file(table.family)
            lines.append(f"try {' '.join(step.argv)} {path}")
        files.append(_file(path, head + _stdin(step)))
    return lines


def _steps(table: RuleTable) -> list[Command]:
    return [step for step in RuleTable.render(None, table) if isinstance(step, Command)]


def _stdin(step: Command) -> str:
    return step.stdin.decode()


def _head(crossings: Iterable[str]) -> str:
    names = ", ".join(crossings)
    return f"# crossnet: {names}. Written by crossnet; `crossnet undo` removes it.\n"


def _boot_name(name: str) -> str:
    """The slash form, which sysctl.d(5) and sysctl(8) both read, where an interface name holds dots."""
    return name.translate(str.maketrans("./", "/.")) if "/" in name else name


def _file(path: str, text: str, mode: int = 0o644) -> File:
    return File(path, text.encode(), mode)
