"""The packages in which the tools of a host come."""

PACKAGES = {
    "ip": "iproute2 (Debian, Ubuntu) or iproute (EL)",
    "sysctl": "procps (Debian, Ubuntu) or procps-ng (EL)",
    "nft": "nftables",
    "iptables": "iptables",
    "ipset": "ipset",
    "conntrack": "conntrack (Debian, Ubuntu) or conntrack-tools (EL)",
    "ping": "iputils-ping (Debian, Ubuntu) or iputils (EL)",
    "nc": "netcat-openbsd (Debian, Ubuntu) or nmap-ncat (EL)",
    "flock": "util-linux",
    "setsid": "util-linux",
    "sha256sum": "coreutils",
    "sync": "coreutils",
}
