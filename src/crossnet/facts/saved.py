"""Files from which the programs of a distribution load rules at boot, and what of crossnet's own stands in them."""

from __future__ import annotations

from dataclasses import dataclass

from crossnet.facts.file_lines import LINES
from crossnet.facts.question import Question

# iptables: netfilter-persistent, iptables-services of EL, Arch, Alpine and Gentoo, and what people put into `pre-up`.
# ipset: ipset-persistent, ipset-service of EL, Arch, Gentoo. nftables: Debian and Arch, EL, Alpine, Gentoo.
PLACES = (
    *("/etc/iptables/rules.v4", "/etc/iptables/rules.v6", "/etc/iptables/rules"),
    *("/etc/sysconfig/iptables", "/etc/sysconfig/ip6tables"),
    *("/etc/iptables/iptables.rules", "/etc/iptables/ip6tables.rules"),
    *("/etc/iptables/rules-save", "/etc/iptables/rules6-save"),
    *("/var/lib/iptables/rules-save", "/var/lib/ip6tables/rules-save"),
    *("/etc/iptables.rules", "/etc/iptables.up.rules", "/etc/network/iptables.up.rules"),
    *("/etc/ip6tables.rules", "/etc/ip6tables.up.rules", "/etc/iptables.conf"),
    *("/etc/iptables/ipsets", "/etc/sysconfig/ipset", "/etc/ipset.conf", "/var/lib/ipset/rules-save"),
    *("/etc/ipset.rules", "/etc/ipset.up.rules"),
    *("/etc/nftables.conf", "/etc/sysconfig/nftables.conf", "/etc/nftables.nft"),
    *("/var/lib/nftables/rules-save", "/var/lib/nftables/rules.nft"),
)
FOLDERS = ("/etc/sysconfig/ipset.d", "/etc/ipset.d", "/etc/nftables", "/etc/nftables.d")

# Bytes of one file that are looked at, and how much of what is found there is told.
_LARGEST = 32 * 2**20
_MOST = 64

# The names that crossnet gives its chains and sets in iptables, and its tables in nftables.
_OWN = r"CROSSNET-[A-Z]{1,20}|xnet[46]-[A-Za-z0-9_.-]{1,26}|table ip6? crossnet([^A-Za-z0-9_-]|$)"

READ = (
    LINES
    + rf"""
for file in {" ".join(PLACES)} {" ".join(f"{folder}/*" for folder in FOLDERS)}; do
    [ -f "$file" ] && [ -r "$file" ] || continue
    found=$(head -c {_LARGEST} <"$file" | tr -d '\000' | grep -v '^[[:space:]]*#' |
        grep -oE '{_OWN}' | sort -u | head -n {_MOST})
    in_one_line "$file"
    [ -z "$found" ] || printf 'file %s\n%s\n' "$name" "$found"
done
"""
)


@dataclass(frozen=True, slots=True)
class SavedRules:
    """A file in which rules are saved, and the names of crossnet's own chains, sets and tables in it."""

    file: str
    names: tuple[str, ...]

    @property
    def sets(self) -> frozenset[str]:
        return frozenset(name for name in self.names if name.startswith("xnet"))

    @property
    def is_of_sets(self) -> bool:
        """Whether ipset loads it."""
        return "ipset" in self.file

    @property
    def is_of_nft(self) -> bool:
        return "nft" in self.file


def parse_saved(answer: str) -> tuple[SavedRules, ...]:
    """`file PATH`, and a line for each name in it."""
    found: list[SavedRules] = []
    for line in filter(None, answer.split("\n")):
        if line.startswith("file /"):
            found.append(SavedRules(line.removeprefix("file "), ()))
        elif found:
            name = line.rstrip(" {;")
            found[-1] = SavedRules(found[-1].file, (*found[-1].names, name))
        else:
            raise ValueError(f"no file: {line[:80]!r}")
    return tuple(found)


# It decides nothing: where it cannot be asked, nothing is told of it.
SAVED = Question("looked for saved rules", ("sh", "-c", READ), parse_saved, lambda _: ())
