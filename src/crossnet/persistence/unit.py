"""Persistence that works on every systemd host: files in /etc/crossnet and a unit that loads them at boot."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from crossnet import record
from crossnet.netfilter.iptables import delete_jump, insert_jump
from crossnet.resources import Command, File, Jump, Resource, RouteResource, RuleTable, Service, Sysctl
from crossnet.resources.route import restore_line
from crossnet.values import Family

FOLDER = "/etc/crossnet"
SYSCTL_FILE = "/etc/sysctl.d/99-zz-crossnet.conf"
UNIT = "crossnet.service"
RULES_UNIT = "crossnet-rules.service"
RECOVER_UNIT = "crossnet-recover.service"

START = f"{FOLDER}/start"
ROUTES = f"{FOLDER}/routes"
NFT = f"{FOLDER}/rules.nft"


def _unit_file(unit: str) -> str:
    return f"/etc/systemd/system/{unit}"


def _restore_file(family: Family) -> str:
    return f"{FOLDER}/iptables-{family.value}.rules"


def _ipset_file(family: Family) -> str:
    return f"{FOLDER}/ipset-{family.value}.rules"


FILES = (
    SYSCTL_FILE,
    START,
    ROUTES,
    NFT,
    *(_restore_file(family) for family in Family),
    *(_ipset_file(family) for family in Family),
    *(path for unit in (UNIT, RULES_UNIT, RECOVER_UNIT) for path in (_unit_file(unit), Service(unit).link)),
)

# What ends a transaction that a power cut left open; the only thing that is written before a confirmation.
BOOT_GUARD = frozenset({("file", _unit_file(RECOVER_UNIT)), ("service", RECOVER_UNIT)})

# Before the rules are loaded: files that were not confirmed go, and those that were are completed.
_RECOVER_UNIT_TEXT = f"""\
[Unit]
Description=crossnet: ends a transaction that was open when the host went down
DefaultDependencies=no
ConditionPathExists={record.HOST_SCRIPT}
Wants=network-pre.target
Before={RULES_UNIT} network-pre.target shutdown.target
After=local-fs.target
Conflicts=shutdown.target

[Service]
Type=oneshot
ExecStart=/bin/sh {record.HOST_SCRIPT} recover

[Install]
WantedBy=multi-user.target
"""

# systemd-sysctl switches forwarding on long before the network comes up. The rules are in place in between,
# so that there is no moment at which a gateway forwards without its fence. Without default dependencies, as
# nftables.service has it: cloud-init orders the network before sysinit.target.
_RULES_UNIT_TEXT = f"""\
[Unit]
Description=crossnet: rules of its crossings, before the network is up
Documentation=man:nft(8) man:iptables(8)
DefaultDependencies=no
Wants=network-pre.target
Before=network-pre.target shutdown.target
After=local-fs.target nftables.service iptables.service ip6tables.service netfilter-persistent.service
Conflicts=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh {START} rules

[Install]
WantedBy=multi-user.target
"""

# After everything that may flush rules, and again when one of them is restarted; order only, so that nothing
# is started that the host would not start by itself. Routes need the interfaces up.
_UNIT_TEXT = f"""\
[Unit]
Description=crossnet: routes, rules and settings of its crossings
Documentation=man:ip-route(8) man:nft(8) man:iptables(8)
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
    rules, files = _rules(live, head)
    script = [*rules, '[ "${1-}" = rules ] && exit $failed']

    settings = [item for item in live if isinstance(item, Sysctl)]
    if settings:
        lines = "".join(f"{item.name} = {item.value}\n" for item in settings)
        files.append(_file(SYSCTL_FILE, head + lines))
        # Once more at the end of the boot, because a later file or /etc/sysctl.conf may say otherwise.
        script.append(f"try sysctl -q -e -p {SYSCTL_FILE}")

    routes = [item for item in live if isinstance(item, RouteResource)]
    if routes:
        lines = "".join(f"{restore_line(item.route)}\n" for item in routes)
        files.append(_file(ROUTES, head + lines))
        script.append(f"try ip -force -batch {ROUTES}")

    if not files:
        return ()
    start = "#!/bin/sh\n" + head + 'failed=0\ntry() { "$@" || failed=1; }\n' + "\n".join(script)
    files.append(_file(START, start + "\nexit $failed\n", mode=0o755))
    units = {UNIT: _UNIT_TEXT, **({RULES_UNIT: _RULES_UNIT_TEXT} if rules else {})}
    units[RECOVER_UNIT] = _RECOVER_UNIT_TEXT
    return (
        *files,
        *(_file(_unit_file(unit), head + text) for unit, text in units.items()),
        *(Service(unit) for unit in units),
    )


def _rules(live: Sequence[Resource], head: str) -> tuple[list[str], list[File]]:
    """The lines that load the rules, and the files that they load."""
    script: list[str] = []
    files: list[File] = []
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
    return script, files


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
    return list(RuleTable.load(None, table))


def _stdin(step: Command) -> str:
    return step.stdin.decode()


def _head(crossings: Iterable[str]) -> str:
    names = ", ".join(crossings)
    return f"# crossnet: {names}. Written by crossnet; `crossnet undo` removes it.\n"


def _file(path: str, text: str, mode: int = 0o644) -> File:
    return File(path, text.encode(), mode)
