"""Programs that load rules of a firewall, by the names of their units and init scripts, and what they do to others'."""

from __future__ import annotations

# They flush rules of others together with their own, nftables those of nftables, the rest those of iptables: those that
# come before the network, as their packages' units have it, and those that come later.
EARLY = ("nftables", "iptables", "ip6tables", "netfilter-persistent")
LATE = ("firewalld", "shorewall", "shorewall6")

# They leave rules of others.
LEAVING = ("ufw", "docker", "libvirtd")

# They put rules of their own in front when they are started.
COMING_FIRST = (*LEAVING, "virtnetworkd", *LATE)


def services(names: tuple[str, ...]) -> tuple[str, ...]:
    """Their units of systemd."""
    return tuple(f"{name}.service" for name in names)
