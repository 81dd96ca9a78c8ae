"""What happens when a lab host boots: its network, then what is configured in its own /etc.

In this order, each honoured exactly as far as said here:

1. The topology's interfaces, addresses, routes and sysctls.
2. `/etc/sysctl.d/*.conf`, sorted by name: `key = value`, `-key = value` (an error is no matter), keys
   with dots or slashes, comments with # and ;. Only net.*; no globs in keys (sysctl.d(5)).
3. `/etc/systemd/system/multi-user.target.wants/*.service`, sorted by name: units with `Type=oneshot`, of
   these the `ExecStart=` lines in their order, with the prefix `-`. Words are split as in sh, without
   variables and specifiers. No conditions, dependencies, environment or drop-ins (systemd.service(5)).
4. The topology's `boot` lines, with `sh -c`.

A unit or a file that fails is written to the host's console and the boot goes on, as on any host; a
mistake of the topology is a LabError.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from crossnet.errors import LabError
from crossnet.lab.topology import Host
from crossnet.transport import ENVIRONMENT

PATIENCE = 30.0  # seconds that one command of a boot may take

_LINK_IS_TOLD = 2.0  # seconds, of which the kernel needs one at most

_SYSCTLS = Path("/proc/sys")
_SYSCTL_FILES = Path("/etc/sysctl.d")
_WANTED = Path("/etc/systemd/system/multi-user.target.wants")

# A new network namespace copies its IPv4 settings from the machine's (net.core.devconf_inherit_init_net
# in Documentation/admin-guide/sysctl/net.rst), so that without these a lab on a machine that forwards
# would forward too. They are the kernel's own defaults.
_FRESH = {
    "net.ipv4.ip_forward": "0",
    "net.ipv4.conf.all.rp_filter": "0",
    "net.ipv4.conf.default.rp_filter": "0",
    "net.ipv4.conf.all.arp_ignore": "0",
    "net.ipv4.conf.default.arp_ignore": "0",
    "net.ipv4.conf.all.arp_filter": "0",
    "net.ipv4.conf.default.arp_filter": "0",
    # No duplicate address detection: an address is usable at once, not a second later.
    "net.ipv6.conf.all.accept_dad": "0",
    "net.ipv6.conf.default.accept_dad": "0",
}


def freshen() -> None:
    """Give the current network namespace the settings of a machine that nobody has configured."""
    for key, value in _FRESH.items():
        place = _place(key)
        if place.exists():  # a kernel booted with ipv6.disable=1 has no net.ipv6
            place.write_text(value)


def boot(host: Host) -> None:
    """Bring up a host from inside its namespaces."""
    ip_batch(_network_lines(host))
    _await_addresses(host)
    _await_link_local(host)
    for key, value in host.sysctls:
        try:
            _place(key).write_text(value)
        except OSError as error:
            raise LabError(f"{host.name}: setting sysctl {key} to {value}: {error.strerror}") from None
    _apply_sysctl_files()
    _run_units()
    for line in host.boot:
        _run_boot_line(host.name, line)


def ip_batch(lines: Sequence[str], *, files: Sequence[int] = ()) -> None:
    """Give `ip` many commands in one process; LabError carries the one that failed and what it said."""
    answer = subprocess.run(
        ["ip", "-batch", "-"],
        input="\n".join(lines) + "\n",
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        pass_fds=files,
    )
    if answer.returncode != 0:
        # `ip` ends with the line "Command failed -:NUMBER".
        number = answer.stderr.rstrip().rpartition(":")[2]
        failed = lines[int(number) - 1] if number.isdecimal() and int(number) <= len(lines) else "-batch"
        raise LabError(f"`ip {failed}` failed: {answer.stderr.strip() or answer.returncode}")


def _network_lines(host: Host) -> list[str]:
    lines = ["link set lo up"]
    for interface in host.interfaces:
        lines.append(f"link set {interface.name} up")
        for address in interface.addresses:
            broadcast = " brd +" if address.version == 4 and address.network.prefixlen < 31 else ""
            nodad = " nodad" if address.version == 6 else ""
            lines.append(f"address add {address}{broadcast} dev {interface.name}{nodad}")
    for route in host.routes:
        via = f" via {route.via}" if route.via is not None else ""
        device = f" dev {route.device}" if route.device is not None else ""
        lines.append(f"route add {route.destination}{via}{device}")
    return lines


def _await_addresses(host: Host) -> None:
    """Wait until the kernel has taken the IPv6 addresses into use, which it does in a worker of its own.

    When forwarding is switched on in between, the subnet's anycast address is joined twice and left once
    when it is switched off again (measured on 6.18; net/ipv6/addrconf.c: dev_forward_change and
    __ipv6_ifa_notify), so that a host would not be as before.
    """
    addresses = [item for interface in host.interfaces for item in interface.addresses if item.version == 6]
    missing = {f"{int(address.ip):032x} 80" for address in addresses}
    deadline = time.monotonic() + PATIENCE
    while missing and time.monotonic() < deadline:
        routes = Path("/proc/net/ipv6_route").read_text()
        missing = {line for line in missing if line not in routes}
        time.sleep(0.001)


def _await_link_local(host: Host) -> None:
    """Wait until each interface has the address that the kernel gives it once its link is there, if it does.

    It tells of a link up to a second late (net/core/link_watch.c), and a host that is looked at before would seem to
    have changed.
    """
    waited = {each.name for each in host.interfaces if _has_ipv6(each.name)}
    deadline = time.monotonic() + _LINK_IS_TOLD
    while waited and time.monotonic() < deadline:
        known = [line.split() for line in Path("/proc/net/if_inet6").read_text().splitlines()]
        routes = Path("/proc/net/ipv6_route").read_text()
        waited -= {line[5] for line in known if line[0].startswith("fe80") and f"{line[0]} 80" in routes}
        time.sleep(0.001)


def _has_ipv6(interface: str) -> bool:
    place = _SYSCTLS / "net/ipv6/conf" / interface / "disable_ipv6"
    return place.exists() and place.read_text().strip() == "0"


def _place(key: str) -> Path:
    # sysctl.d(5): whichever of "." and "/" stands first separates, the other is then part of a name.
    first = next((sign for sign in key if sign in "./"), ".")
    return _SYSCTLS / (key if first == "/" else key.translate(str.maketrans("./", "/.")))


def _apply_sysctl_files() -> None:
    for file in sorted(_SYSCTL_FILES.glob("*.conf")):
        for number, line in enumerate(file.read_text(errors="replace").splitlines(), 1):
            text = line.strip()
            if not text or text[0] in "#;":
                continue
            key, _, value = (part.strip() for part in text.partition("="))
            place = _place(key.removeprefix("-").strip())
            if not place.is_relative_to(_SYSCTLS / "net") or ".." in place.parts:
                continue
            try:
                place.write_text(value)
            except OSError as error:
                if not key.startswith("-"):
                    _complain(f"{file}:{number}: {text}: {error.strerror}")


def _run_units() -> None:
    for unit in sorted(_WANTED.glob("*.service")):
        try:
            commands = list(_exec_start(unit.read_text(errors="replace")))
        except (OSError, ValueError) as error:
            _complain(f"{unit.name}: {error}")
            continue
        for command in commands:
            words = shlex.split(command.removeprefix("-"))
            status = _run(words)
            if status != 0:
                _complain(f"{unit.name}: `{command}` ended with {status}")
                if not command.startswith("-"):
                    break


def _exec_start(text: str) -> Iterator[str]:
    section, oneshot = "", False
    commands: list[str] = []
    for line in text.replace("\\\n", " ").splitlines():
        stripped = line.strip()
        if stripped.startswith("["):
            section = stripped
        elif section == "[Service]" and not stripped.startswith(("#", ";")):
            key, _, value = (part.strip() for part in stripped.partition("="))
            oneshot = value == "oneshot" if key == "Type" else oneshot
            if key == "ExecStart":
                commands = [*commands, value] if value else []
    if oneshot:
        yield from commands


def _run_boot_line(host: str, line: str) -> None:
    status = _run(["sh", "-c", line])
    if status != 0:
        raise LabError(f"{host}: the topology's boot line `{line}` ended with {status}")


def _complain(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _run(words: Sequence[str]) -> int | str:
    """The exit status, or why there is none; output goes to the host's console."""
    try:
        child = subprocess.Popen(words, stdin=subprocess.DEVNULL, env=ENVIRONMENT, cwd="/", process_group=0)
    except (OSError, IndexError) as error:
        return str(error)
    try:
        return child.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
        return f"no end within {PATIENCE:g} s"
