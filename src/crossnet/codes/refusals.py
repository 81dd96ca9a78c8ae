"""Why there is no plan."""

from __future__ import annotations

from crossnet.codes.code import Code

REFUSALS = (
    Code(
        "next-hop-not-on-link",
        "The client cannot reach the gateway's address directly, so it cannot be a next hop.",
        "No address of the gateway lies in a network of one of the client's interfaces.",
        "Give both an address in one network, or correct `next-hop`, `ingress` or `via`.",
    ),
    Code(
        "no-client-in-family",
        "A destination is of one address family, and no client has an address of it.",
        "The clients' address lists.",
        "Give a client such an address, or take the destination out of `to`.",
    ),
    Code(
        "no-route-to-client",
        "The gateway has no way back to an address or network in `from`.",
        "The gateway's main routing table has no route for it.",
        "Add the route on the gateway, or take the entry out of `from`.",
    ),
    Code(
        "ambiguous-ingress",
        "The clients can arrive on more than one interface of the gateway.",
        "The interfaces and addresses that client and gateway have in common, listed as candidates.",
        "Write `ingress: INTERFACE` or `next-hop: ADDRESS`, or one crossing for each.",
    ),
    Code(
        "ambiguous-egress",
        "The gateway can reach the destinations through more than one interface.",
        "The gateway's routes to them, listed as candidates.",
        "Write `egress: INTERFACE`, or one crossing for each.",
    ),
    Code(
        "same-interface",
        "The gateway would send packets out where they came in: it does not stand in both networks.",
        "The gateway's route to the destination leaves by the ingress.",
        "Choose another gateway; to send packets back out there on purpose, set `egress` to that interface.",
    ),
    Code(
        "no-such-interface",
        "`ingress` or `egress` names an interface that the gateway does not have.",
        "The gateway's interfaces, listed as candidates.",
        "Correct the name.",
    ),
    Code(
        "unusable-interface-name",
        "The crossing uses an interface whose name the host's tools would read as something else.",
        "`iptables` reads `wan+`, and `nft` reads `br*`, as every interface whose name begins so; a name that "
        "begins with `-` or `!`, or holds quotes or characters beyond ASCII, is not safe in rules and files.",
        "Rename the interface on the host, or cross through another one.",
    ),
    Code(
        "interface-in-vrf",
        "The crossing would enter or leave the gateway by an interface that belongs to a VRF.",
        "The kernel forwards what arrives on such an interface as if it had arrived on the VRF, so rules that "
        "name the interface never match.",
        "Use interfaces that belong to no VRF, or take the interface out of its VRF.",
    ),
    Code(
        "destination-on-link",
        "The client already stands in the destination's network.",
        "The destination lies inside the network of one of the client's addresses.",
        "Take it out of `to`, or the client out of `from`.",
    ),
    Code(
        "destination-contains-client-network",
        "The route would take over a network on the clients' own side.",
        "The destination contains the network of one of the client's addresses, and the client has no more "
        "specific route to it; or it contains an unmanaged client, and the gateway has no more specific route to "
        "that one. With a more specific route the destination may be as large as you like.",
        "Leave it out: `to: {networks: …, except: …}`.",
    ),
    Code(
        "management-path-taken",
        "A route of the crossing would divert the path by which crossnet reaches a host.",
        "The address from which crossnet reaches a host lies in `to`, and the host has no more specific route to "
        "it.",
        "Leave that address out: `to: {networks: …, except: …}`.",
    ),
    Code(
        "no-source-address",
        "The egress has no address of the destination's family to translate to.",
        "The address list of the gateway's egress.",
        "Give it one, or write `translate: none` if the destination has a route back.",
    ),
    Code(
        "crossings-overlap",
        "Two crossings claim the same packets, and would do different things with them.",
        "Their clients, destinations and `allow` have packets in common.",
        "Merge them, or make one of `from`, `to`, `allow` disjoint.",
    ),
    Code(
        "settings-differ",
        "Two crossings share a gateway or a route, and ask for different values of a setting that it has only once.",
        "`firewall`, `fence` or `persist` is not the same in both.",
        "Write the same value in both.",
    ),
    Code(
        "other-owner",
        "`persist` names a program that does not keep the interface, or cannot keep the route there.",
        "Who keeps the interface, as the running programs say; the file in which such routes stand.",
        "Write `persist: auto`, or `persist: unit` for crossnet's own unit.",
    ),
    Code(
        "route-in-use",
        "A host already has a route to the destination by another way, and it is not crossnet's.",
        "The host's main routing table.",
        "Remove that route if it is not needed, or take the destination out of `to`.",
    ),
    Code(
        "same-machine",
        "Two names of the spec lead to one machine.",
        "The same boot id and the same network namespace (/proc/self/ns/net).",
        "Name it once under `hosts:`.",
    ),
    Code(
        "record-unreadable",
        "crossnet's record of what was there before it is not a file, or cannot be read.",
        "/var/lib/crossnet/applied.json, read as root.",
        "Put the file back, or correct its permissions.",
    ),
    Code(
        "record-of-another-version",
        "Another version of crossnet has changed the host, and this one cannot read what was there before.",
        "The format number in /var/lib/crossnet/applied.json.",
        "Use that version, or undo with it before you use this one.",
    ),
    Code(
        "foreign-in-own",
        "Somebody else has written into crossnet's own rules, or loaded them again in another form, and a roll-back "
        "could not restore what they are now.",
        "A rule, set or chain in crossnet's table or chains that crossnet does not write; a jump to them without its "
        "comment; chains whose table iptables does not print any more.",
        "Remove it by hand, where the refusal names commands with these; if it is needed, put it into a table or chain "
        "of another name.",
    ),
    Code(
        "forwarding-unknown",
        "crossnet's record is lost and its rules let others pass, so nobody knows whether the host forwarded "
        "before crossnet. Left on, forwarding may leave the host open; switched off, it may cut others off.",
        "Forwarding is on, crossnet's rules have no fence, and no file of somebody else switches it on.",
        "Decide on the host: switch it off with `sysctl -w`, or set it to 1 in a file in /etc/sysctl.d.",
    ),
    Code(
        "no-firewall-engine",
        "The gateway cannot hold rules of the kind that is asked for.",
        "The tools and the kernel version of the gateway (`crossnet facts`).",
        "Install nftables or iptables there, or correct `firewall`.",
    ),
    Code(
        "ipset-missing",
        "Without ipset, iptables would walk one rule for each client and destination.",
        "ipset is not installed on the gateway, and the crossing needs many rules.",
        "Install ipset there, or use `firewall: nftables`.",
    ),
    Code(
        "firewalld-name-taken",
        "firewalld has a policy `crossnet` that somebody else made, and crossnet needs that name for its own.",
        "`firewall-cmd --info-policy=crossnet` lists it, its file does not say that crossnet wrote it, and the record "
        "of the host knows none.",
        "Give that policy another name, then plan again. Nothing was changed.",
    ),
    Code(
        "firewalld-reload",
        "firewalld has to be reloaded before it knows a new policy, and that would take something from somebody: what "
        "is in force and not permanent, or rules of iptables that others have put beside its own.",
        "What firewalld lists as in force and as permanent, zone by zone and policy by policy; its own check of its "
        "permanent configuration; the rules of iptables that are not firewalld's.",
        "Make it permanent (`firewall-cmd --runtime-to-permanent`) or drop it (`firewall-cmd --reload`), then plan "
        "again. Nothing was changed.",
    ),
    Code(
        "firewalld-many-rules",
        "firewalld would need so many rules for the crossings that it would take long over each change.",
        "The product of clients, destinations and ports, after neighbours were made one network.",
        "Name networks instead of single addresses in `from` and `to`, or let the crossing pass in firewalld yourself.",
    ),
    Code(
        "nothing-passes",
        "Nothing of the crossing would pass after an apply: a rule, a route or a setting that crossnet does not "
        "own stops all of it for certain, and an accept in crossnet's rules does not override that.",
        "The rules of every firewall and at every hook, the routes and the settings that its requests and answers "
        "meet, as they would be then; every one that stops them is listed.",
        "Accept the crossing in the owner's own tool, or remove a route that should not be there; then plan "
        "again. Nothing was changed.",
    ),
)
