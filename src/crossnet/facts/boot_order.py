"""Which firewalls that load their rules from a file a host starts before its network."""

from __future__ import annotations

from crossnet.facts import firewalls
from crossnet.facts.question import Question

# As their packages have them they come before the network. One that a site made itself may have any place.
UNITS = firewalls.services(firewalls.EARLY)

# systemd.special(7): whoever brings up the network is ordered after network-pre.target. systemctl(1) tells only what
# stands next in the order, of a unit that is not loaded too; nothing that is ordered before a unit is asked twice.
_READ = r"""
[ -S /run/systemd/private ] || [ -S /run/dbus/system_bus_socket ] || exit
for unit; do
    [ "$(systemctl show -p LoadState -- "$unit")" = LoadState=loaded ] || continue
    seen=" $unit " next=$unit
    while [ -n "$next" ]; do
        # shellcheck disable=SC2086  # the words are wanted
        earlier=$(systemctl show -p After -- $next) || exit
        next=''
        for each in $earlier; do
            each=${each#After=}
            case $seen in *" $each "*) ;; *) seen="$seen$each " next="$next $each" ;; esac
        done
    done
    case $seen in *" network-pre.target "*) ;; *) echo "$unit" ;; esac
done
"""


def parse_before_network(answer: str) -> frozenset[str]:
    """Those that are there and do not wait for the network, a line each."""
    return frozenset(answer.split())


BEFORE_NETWORK: Question[frozenset[str]] = Question(
    "asked which firewalls come before the network",
    ("sh", "-c", _READ, "sh", *UNITS),
    parse_before_network,
    failed=lambda answer: frozenset(),
)
