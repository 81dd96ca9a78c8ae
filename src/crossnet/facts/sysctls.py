"""The kernel's network settings that decide about forwarding, and the files that set them at boot."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from crossnet.facts.file_lines import LINES, parse
from crossnet.facts.question import NEEDS_ROOT, Question, Unanswered, refuse
from crossnet.transport.batch import Answer
from crossnet.values import Family

# What crossnet reads. `conf/*` holds one folder per interface and the two of all and default.
PATTERNS = (
    "/proc/sys/net/ipv4/ip_forward",
    "/proc/sys/net/ipv4/ip_default_ttl",
    "/proc/sys/net/ipv4/icmp_echo_ignore_all",
    "/proc/sys/net/ipv4/conf/*/forwarding",
    "/proc/sys/net/ipv4/conf/*/rp_filter",
    "/proc/sys/net/ipv4/conf/*/accept_redirects",
    "/proc/sys/net/ipv4/conf/*/send_redirects",
    "/proc/sys/net/ipv4/conf/*/arp_ignore",
    "/proc/sys/net/ipv4/conf/*/arp_filter",
    "/proc/sys/net/ipv4/conf/*/proxy_arp",
    "/proc/sys/net/ipv4/conf/*/accept_local",
    "/proc/sys/net/ipv4/conf/*/src_valid_mark",
    "/proc/sys/net/ipv4/conf/*/route_localnet",
    "/proc/sys/net/ipv4/conf/*/ignore_routes_with_linkdown",
    "/proc/sys/net/ipv6/conf/*/forwarding",
    "/proc/sys/net/ipv6/conf/*/force_forwarding",
    "/proc/sys/net/ipv6/conf/*/disable_ipv6",
    "/proc/sys/net/ipv6/conf/*/accept_ra",
    "/proc/sys/net/ipv6/conf/*/autoconf",
    "/proc/sys/net/ipv6/conf/*/ignore_routes_with_linkdown",
    "/proc/sys/net/bridge/bridge-nf-call-ip*tables",
    "/proc/sys/net/netfilter/nf_conntrack_count",
    "/proc/sys/net/netfilter/nf_conntrack_max",
)

# All of them are numbers (proc_dointvec), some of which may be negative.
_NUMBER = re.compile(r"-?[0-9]{1,19}")

# The patterns are this script's own, so that their globs are expanded by the host's shell. grep complains of those
# that are not there, which is no error.
READ = f"exec grep '' {' '.join(PATTERNS)} /dev/null"

# What makes a host forward the packets of others.
FORWARDING = {Family.V4: "net.ipv4.ip_forward", Family.V6: "net.ipv6.conf.all.forwarding"}

# What `sysctl -p` reads, and `sysctl --system` last of all.
SYSCTL_CONF = "/etc/sysctl.conf"

# How many flows connection tracking knows right now.
TRACKED = "net.netfilter.nf_conntrack_count"
# And how many it can.
MOST_TRACKED = "net.netfilter.nf_conntrack_max"

# sysctl.d(5): of two files with one name that of the first of these folders counts, and the other is not read; so it is
# also where the first is empty, or a link to /dev/null.
READ_FILES = (
    LINES
    + r"""
names=/ cr=$(printf '\r')
for file in /etc/sysctl.d/*.conf /run/sysctl.d/*.conf /usr/local/lib/sysctl.d/*.conf \
    /usr/lib/sysctl.d/*.conf /lib/sysctl.d/*.conf /etc/sysctl.conf
do
    [ -e "$file" ] || [ -L "$file" ] || continue
    case $file in
        */sysctl.d/*)
            case $names in */"${file##*/}"/*) continue ;; esac
            names=$names${file##*/}/
            ;;
    esac
    [ -f "$file" ] || continue
    grep -q 'net[./]ipv' "$file" 2>/dev/null
    [ $? = 1 ] || lines sysctl "$file" "(^|$cr)[[:space:]]*-?net[./]ipv[46*?[]"
done
true
"""
)

# How the kernel reads a number that is written to it (kernel/sysctl.c, proc_get_long): with the prefixes of C, up to a
# blank, and nothing behind that. Anything else it refuses, and leaves the setting as it is (measured with 6.18).
_WRITTEN = re.compile(r"(-?)(0[xX][0-9a-fA-F]+|[0-9]{1,20})(?=[ \t\n]|$)")
_LARGEST = 2**31 - 1


@dataclass(frozen=True, slots=True)
class BootSetting:
    """One line of a sysctl file; `line` is its number, 0 where that is not known.

    `value` is what the kernel makes of it: the number alone where one begins it, else the text as it is written.
    """

    file: str
    name: str
    value: str
    line: int = 0

    @property
    def is_number(self) -> bool:
        """Whether the kernel takes it: all settings that crossnet compares are numbers."""
        return number_taken(self.value) is not None

    @property
    def switches_on(self) -> bool:
        """Whether something is on by it that 0 switches off."""
        return self.is_number and self.value != "0"

    def sets(self, name: str) -> bool:
        """Whether it is for this setting: by its name, by the other name that it has, or by a pattern."""
        return _sets(self, _names(name))


def parse_sysctls(answer: str) -> dict[str, str]:
    """`/proc/sys/net/ipv4/ip_forward:0` lines as `{"net.ipv4.ip_forward": "0"}`."""
    values = {}
    for line in filter(None, answer.split("\n")):
        path, colon, value = line.partition(":")
        if not path.startswith("/proc/sys/net/") or not colon:
            raise ValueError(f"not a setting: {line[:80]!r}")
        if not _NUMBER.fullmatch(value):
            raise ValueError(f"{name_of(path)[:80]} is {value[:40]!r}, which is no number")
        values[name_of(path)] = value
    if FORWARDING[Family.V4] not in values:
        raise Unanswered("/proc/sys/net/ipv4/ip_forward cannot be read")
    return values


def _with_gaps(answer: Answer) -> dict[str, str]:
    """What is not there, or went away with its interface meanwhile, is no failure; anything else is."""
    gone = ("No such file or directory", "No such device", "Invalid argument")
    complaints = answer.error_text.splitlines()
    if answer.returncode != 2 or not complaints or not all(line.endswith(gone) for line in complaints):
        refuse(answer, "grep")
    return parse_sysctls(answer.text)


SYSCTLS = Question("read the kernel's settings", ("sh", "-c", READ), parse_sysctls, _with_gaps)


def name_of(path: str) -> str:
    """The sysctl name of a path; dots of an interface name become slashes (sysctl(8))."""
    words = path.removeprefix("/proc/sys/").split("/")
    return ".".join(word.replace(".", "/") for word in words)


def path_of(name: str) -> str:
    """The path of a sysctl name."""
    return "/proc/sys/" + name.translate(str.maketrans("./", "/."))


def interface_setting(family: int, interface: str, key: str) -> str:
    """`net.ipv4.conf.eth1.forwarding`, right for interface names with dots too."""
    return f"net.ipv{family}.conf.{interface.replace('.', '/')}.{key}"


def interface_of(name: str) -> str:
    """The interface whose setting it is; nothing where it is one of the host, or of interfaces that come."""
    words = name.split(".")
    if len(words) != 5 or words[2] != "conf" or words[3] in ("all", "default"):
        return ""
    return words[3].replace("/", ".")


def is_forwarding(name: str, family: Family) -> bool:
    """Whether a setting says, of the host or of an interface, whether packets of this family go on."""
    if family is Family.V4 and name == "net.ipv4.ip_forward":
        return True
    return name.startswith(f"net.ipv{family}.conf.") and name.endswith(".forwarding")


def forwards(sysctls: Mapping[str, str], family: Family, interface: str) -> bool:
    """Whether what comes in by an interface goes on, as far as settings tell.

    IPv4 asks the interface. IPv6 asks the host and, where that does not forward, since Linux 6.17 the interface
    (net/ipv6/ip6_output.c).
    """
    whole = sysctls.get(FORWARDING[family], "0")
    if family is Family.V4:
        return sysctls.get(interface_setting(4, interface, "forwarding"), whole) != "0"
    return whole != "0" or sysctls.get(interface_setting(6, interface, "force_forwarding"), "0") != "0"


def forward_alone(sysctls: Mapping[str, str], family: Family, interfaces: Collection[str]) -> list[str]:
    """Those of the interfaces that forward although the host does not."""
    if sysctls.get(FORWARDING[family], "0") != "0":
        return []
    return [name for name in interfaces if forwards(sysctls, family, name)]


def effective_rp_filter(sysctls: Mapping[str, str], interface: str) -> int:
    """0, 1 (strict) or 2 (loose): the larger of that of all and that of the interface (ip-sysctl, rp_filter)."""
    return _larger(sysctls, interface, "rp_filter")


def arp_ignore(sysctls: Mapping[str, str], interface: str) -> int:
    """For which of its addresses an interface answers ARP: the larger of the two settings (ip-sysctl)."""
    return _larger(sysctls, interface, "arp_ignore")


def answers_for_others(sysctls: Mapping[str, str], interface: str) -> bool:
    """Whether an interface answers ARP for an address of the host that another interface holds.

    Where neither is known, it does, as the kernel does by itself (ip-sysctl, arp_ignore and arp_filter).
    """
    return arp_ignore(sysctls, interface) == 0 and _larger(sysctls, interface, "arp_filter") == 0


def is_arp_proxy(sysctls: Mapping[str, str], interface: str) -> bool:
    """Whether an interface answers ARP for what the host routes elsewhere, once it forwards (ip-sysctl, proxy_arp)."""
    return _larger(sysctls, interface, "proxy_arp") > 0


def _larger(sysctls: Mapping[str, str], interface: str, key: str) -> int:
    names = (interface_setting(4, "all", key), interface_setting(4, interface, key))
    return max(int(value) if (value := sysctls.get(name, "0")).isdecimal() else 0 for name in names)


def parse_boot_settings(answer: str) -> tuple[BootSetting, ...]:
    """What the lines of the files set, in the order of reading."""
    read = parse(answer)
    for path in read.unreadable:
        raise Unanswered(f"{path} cannot be read", NEEDS_ROOT)
    found = (boot_setting(file.path, number, text) for file in read.files for number, text in file.lines)
    return tuple(each for each in found if each is not None)


def boot_setting(file: str, line: int, text: str) -> BootSetting | None:
    """What a line of a sysctl file sets; None where it has no value."""
    name, equals, value = text.partition("=")
    name = name.strip().removeprefix("-")
    if not equals:
        return None
    # sysctl.d(5): either separator may come first, and the first one decides.
    slashed = "/" in name and ("." not in name or name.index("/") < name.index("."))
    dotted = name.translate(str.maketrans("./", "/.")) if slashed else name
    number, written = number_taken(value), value.strip()
    return BootSetting(file, dotted.strip(), written if number is None else str(number), line)


def number_taken(written: str) -> int | None:
    """The number that the kernel takes of a value; None where it refuses it."""
    found = _WRITTEN.match(written.strip())
    if found is None:
        return None
    digits = found[2].lower()
    base = 16 if digits.startswith("0x") else 8 if digits.startswith("0") else 10
    try:
        number = int(digits, base)
    except ValueError:  # 08
        return None
    if number > _LARGEST:
        return None
    return -number if found[1] else number


BOOT_SETTINGS = Question("read the files of sysctl.d", ("sh", "-c", READ_FILES), parse_boot_settings)


def later(settings: Sequence[BootSetting], own: str, name: str) -> BootSetting | None:
    """The line by which files with a later name than the file `own` set again what that one sets."""
    own_name = own.rpartition("/")[2]
    files = [file for file in _files(settings) if file.rpartition("/")[2] > own_name]
    behind = [item for file in files for item in settings if item.file == file]
    # sysctl.d(5): a pattern leaves alone what any file names. A setting with two names it may have by the other one.
    names = _names(name)
    by_pattern = names - {name, *(item.name for item in settings)}
    return deciding([item for item in behind if item.name in names or _sets(item, by_pattern)], name)


def deciding(settings: Sequence[BootSetting], name: str) -> BootSetting | None:
    """Of lines in the order of reading the one that counts: the last that names it, else the last pattern."""
    names = _names(name)
    lines = [item for item in settings if _sets(item, names)]
    explicit = [item for item in lines if item.name in names]
    return next(reversed(explicit or lines), None)


_FOLDERS = ("/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d", "/lib/sysctl.d")
# Two names of one setting (net/ipv4/devinet.c).
_SAME = {"net.ipv4.ip_forward": "net.ipv4.conf.all.forwarding"}


def at_boot(settings: tuple[BootSetting, ...], name: str, *, systemd: bool) -> BootSetting | None:
    """The line by which the files give a setting its value at boot; None where they say nothing of it.

    systemd-sysctl takes the files by their names and does not read /etc/sysctl.conf, others read that last.
    """
    files = _files(settings)
    if not systemd:
        files.append(SYSCTL_CONF)
    lines = [item for file in files for item in settings if item.file == file]
    # What the kernel refuses sets nothing; systemd-sysctl writes only the last line of a name, others each.
    found = deciding(lines if systemd else [item for item in lines if item.is_number], name)
    return found if found is not None and found.is_number else None


def _files(settings: Sequence[BootSetting]) -> list[str]:
    """The files of sysctl.d that count, in the order in which they are read."""
    counting: dict[str, str] = {}
    for folder in _FOLDERS:
        for item in settings:
            head, _, base = item.file.rpartition("/")
            if head == folder:
                counting.setdefault(base, item.file)
    return [file for _, file in sorted(counting.items())]


def _names(name: str) -> frozenset[str]:
    return frozenset((name, _SAME.get(name, name)))


def _sets(item: BootSetting, names: Collection[str]) -> bool:
    return any(fnmatchcase(name, item.name) for name in names)
