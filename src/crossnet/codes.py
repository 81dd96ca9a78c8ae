"""The explanation codes that this version can give: what each means, what shows it, what to do.

A code is a stable key: once released it is never renamed or used for something else.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Code:
    name: str
    meaning: str
    evidence: str
    fix: str


CODES = {
    code.name: code
    for code in (
        # ---- why there is no plan ----
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
            "no-route",
            "The gateway, or another host on the way, has no route to where packets should go.",
            "For the destination, the routing tables that its policy rules lead to hold no route, or a blackhole.",
            "Add the route on the gateway first: `ip route add NETWORK via ADDRESS dev INTERFACE`.",
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
            "snat-address-not-local",
            "The gateway would translate to an address that is not its own: replies would never come back.",
            "The gateway's addresses, listed as candidates.",
            "Use one of them, or leave the choice to `translate: snat`.",
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
            "Two crossings share a gateway, and ask for different values of a setting that it has only once.",
            "`firewall`, `fence` or `persist` is not the same in both.",
            "Write the same value in both.",
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
            "Somebody else has written into crossnet's own rules, and a roll-back could not restore what they are now.",
            "A rule, set or chain in crossnet's table or chains that crossnet does not write.",
            "Remove it by hand; if it is needed, put it into a table or chain of another name.",
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
            "policy-rule-diverts",
            "A policy rule of somebody else leads packets of the crossing elsewhere, and no rule can come before it.",
            "`ip rule` on the host: it has the priority 0 or 1, or too many rules would be needed.",
            "Give that rule a higher priority number, or exclude the crossing's packets from it.",
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
        # ---- what a plan opens, closes and changes ----
        Code(
            "gains-reachability",
            "Flows that pass after the change and did not before.",
            "The crossing's clients, destinations and `allow`.",
            "It is what the crossing is for; narrow `from`, `to` or `allow` if it is too much.",
        ),
        Code(
            "loses-reachability",
            "Flows that passed before the change and will not after it.",
            "The gateway forwarded before, and `fence: on` drops what no crossing names.",
            "Add crossings for what is needed, or leave `fence: auto`.",
        ),
        Code(
            "touches-management-path",
            "The change is on the path by which crossnet reaches a host, and could cut it; `!` marks it.",
            "The address from which that host sees SSH come, and the routes and forwarding in between.",
            "Nothing if it is intended: the host's guard puts it back when no new connection works. Otherwise take "
            "that address out of `to`, or work from another one.",
        ),
        Code(
            "opens-transit",
            "The gateway would route for every host on its networks, not only for the clients.",
            "Forwarding is switched on and the fence is off.",
            "Leave `fence: auto` or write `fence: on`.",
        ),
        Code(
            "older-flows",
            "Connections that began before the change keep what they had: their translation, or their way through.",
            "The gateway forwards, and has no conntrack(8) or no awk to end the tracked ones; or it tracks so many "
            "that there may be no time to end them all.",
            "Install what is missing there before the change, or afterwards restart what holds old connections.",
        ),
        Code(
            "until",
            "The crossing ends at a time: then its hosts take it back themselves, even when nobody is connected.",
            "The spec says `until`. The last crossing of a gateway leaves its forwarding, behind the closed fence: "
            "only a look from outside shows whether others have come to need it.",
            "Nothing. To keep it longer, write a later time and apply that in time; to clean up what was left, "
            "`crossnet undo`.",
        ),
        Code(
            "over",
            "The time of the crossing has come, so it counts as one that is not in the spec: what is left of it goes.",
            "Its `until` has passed by the clock of its gateway.",
            "Take it out of the spec, or write a later time if it is still needed.",
        ),
        Code(
            "clock-differs",
            "The clock of a host differs by more than a minute from that of the machine that crossnet runs on.",
            "Both were asked for their time. What ends at a time ends by the host's own clock.",
            "Set the clock that is wrong, and see why nothing keeps it right.",
        ),
        Code(
            "tables-stay",
            "Empty iptables tables that were not there before crossnet stay after an undo.",
            "The kernel keeps a table that iptables-legacy has used once; or iptables-nft is there without nft.",
            "Nothing: they hold no rule, and are gone after the next boot.",
        ),
        Code(
            "tool-missing",
            "A host has no tool for what the plan needs: a change cannot begin there, or nothing can be sent that "
            "proves the crossing.",
            "The tools that are found on the host (`crossnet facts`).",
            "Install the package that is named.",
        ),
        Code(
            "forwarding-stays",
            "Forwarding, which crossnet switched on, is left on when its last crossing leaves the host: others have "
            "come to need it, or the host's own files switch it on.",
            "Interfaces of containers, virtual machines and tunnels, and rules that accept or translate forwarded "
            "packets, that came after crossnet and let something pass; files in sysctl.d.",
            "Nothing where they need it. Otherwise `sysctl -w net.ipv4.ip_forward=0` (or "
            "`net.ipv6.conf.all.forwarding=0`).",
        ),
        Code(
            "earlier-boot",
            "A setting goes back to what the host's own files set at boot, not to what was live before crossnet.",
            "The boot id in the record is not the host's, and a file in sysctl.d sets another value.",
            "Nothing; `sysctl -w` sets what is wanted now.",
        ),
        Code(
            "other-at-boot",
            "Forwarding will be different after the next boot from what it is after this change.",
            "The files in sysctl.d without crossnet's own, which goes with the last crossing.",
            "Write what is wanted into a file of its own in /etc/sysctl.d.",
        ),
        Code(
            "in-saved-rules",
            "crossnet's own rules or sets stand in a file from which the host loads rules at boot: somebody saved them "
            "with the host's own.",
            "Names of crossnet's chains, sets and tables in the files of netfilter-persistent, iptables-services, "
            "ipset, nftables and the like.",
            "Remove the lines with these names from the file, or save the rules again after an undo. Prefer the first "
            "where the file also holds rules that change by themselves (docker, fail2ban).",
        ),
        Code(
            "flows-offloaded",
            "Somebody else's rule hands connections to a flowtable: their packets no longer meet crossnet's rules.",
            "A rule that forwarded packets reach and that says `flow add` (FLOWOFFLOAD in iptables).",
            "Remove that rule, or exclude the crossing's interfaces from it; then end the connections that the "
            "flowtable holds.",
        ),
        Code(
            "fence-off",
            "The gateway forwarded before crossnet, so crossnet drops nothing of others' traffic.",
            "net.ipv4.ip_forward (or IPv6's) was 1 before the first apply.",
            "Write `fence: on` if only the crossings are to pass.",
        ),
        Code(
            "changes-source-identity",
            "The destination sees the gateway's address, in its logs and access lists too.",
            "The crossing translates the source.",
            "Give the destination a route back and write `translate: none` if it must see the clients.",
        ),
        Code(
            "needs-return-route",
            "Nothing is translated, so the destination must find the way back by itself.",
            "`translate: none`.",
            "Add a route to the clients, through the gateway, on the destination or its router.",
        ),
        Code(
            "route-by-owner",
            "A client is admitted but not managed: crossnet cannot give it the route.",
            "An address or network in `from`.",
            "Have its owner add the printed route.",
        ),
        Code(
            "next-hop-elsewhere",
            "The next hop is not an address of the gateway: the clients' packets go to whoever has it.",
            "The gateway's addresses, those of the other hosts of the spec, and the clients' neighbours.",
            "Correct `next-hop`; an address that moves between gateways comes to this one by itself.",
        ),
        Code(
            "not-persistent",
            "What was applied is lost at the next reboot.",
            "`persist: none`, or systemd does not run on the host.",
            "Leave `persist: auto`; without systemd, run `crossnet apply` after a reboot.",
        ),
        Code(
            "engines-mixed",
            "Rules of more than one firewall engine are live on the host, and a packet has to pass all of them.",
            "nft, iptables-nft-save and iptables-legacy-save show rules of more than one.",
            "Nothing has to be done: crossnet uses the one that already holds rules. It is better to keep to one.",
        ),
        Code(
            "others-may-drop",
            "A rule or a setting of somebody else stops the crossing's packets, or can; crossnet's accept does not "
            "override it.",
            "The rules of every firewall and at every hook, the routes and the settings that these packets meet, on "
            "the way there and back.",
            "Accept the crossing in its owner's own tool.",
        ),
        Code(
            "probe-stopped",
            "A probe that the spec names would not come back, so an apply that changes anything would be rolled back.",
            "The same rules, routes and settings, walked with that very flow of each client.",
            "Accept the flow in the tool that owns what stops it, or name another probe.",
        ),
        Code(
            "others-translate",
            "A rule of somebody else gives packets of the crossing another address or port.",
            "The nat chains that these packets meet.",
            "If it is not intended, exclude the crossing's clients or destinations in its owner's own tool.",
        ),
        Code(
            "not-tracked",
            "A rule of somebody else keeps the crossing's packets from connection tracking; what is not tracked is "
            "not translated, and with `translate: none` the fence stops its answers too, because nothing marks them "
            "as answers.",
            "A notrack rule, or a target CT or NOTRACK, that these packets meet before routing.",
            "Exclude the crossing's clients and destinations in its owner's own tool. `translate: none` alone does "
            "not help: the answers pass only with `fence: off` as well, which lets everybody else pass too.",
        ),
        Code(
            "leaves-elsewhere",
            "The gateway sends some of the crossing's packets, or of the answers, out by an interface other than the "
            "crossing's, where crossnet's own rules let nothing pass.",
            "The gateway's more specific routes, its policy rules, and rules that translate or mark packets.",
            "Take these destinations out of `to`, or give them a crossing of their own; or correct the route.",
        ),
        Code(
            "takes-default-route",
            "The crossing's destinations are all addresses there are: it takes what the client's default route took.",
            "`to` and its exceptions together are 0.0.0.0/0, or ::/0.",
            "Nothing if that is intended; otherwise name the networks behind the gateway in `to`.",
        ),
        Code(
            "route-overruled",
            "A client has a second route to the destination by another way, with a worse metric than the crossing's.",
            "The client's main routing table: of equal prefixes the lowest metric wins.",
            "Nothing has to be done. When the crossing goes, that route is used again.",
        ),
        Code(
            "policy-rule-added",
            "A policy rule of somebody else would lead packets of the crossing away from the main table; crossnet "
            "puts a rule of its own before it.",
            "`ip rule` on the host, and the routes of the table that the rule looks up.",
            "Nothing has to be done. For other destinations the other rule works as before.",
        ),
        Code(
            "kernel-decides",
            "The gateway's kernel sends the crossing's packets another way than the routes and rules that its tools "
            "show, or one of several ways that they show as equally good; the crossing follows the kernel.",
            "`ip route get DESTINATION from CLIENT iif INGRESS` on the gateway, beside `ip route` and `ip rule`: some "
            "versions of `ip`, such as busybox's, do not show everything (several next hops, for one).",
            "Nothing if that way is intended; otherwise correct the gateway's routes.",
        ),
        Code(
            "kernel-refuses",
            "The gateway's kernel says that it would not forward the crossing's packets, and its routes and rules show "
            "no reason.",
            "The error of `ip route get DESTINATION from CLIENT iif INGRESS` on the gateway. `Invalid argument` and "
            "`Invalid cross-device link` mean a source that rp_filter rules out, or that is an address of the gateway "
            "itself.",
            "Run it there by hand; check rp_filter of the ingress, and the gateway's way back to the client.",
        ),
        Code(
            "source-may-change",
            "The source address is one that the gateway may have only for a while.",
            "An interface has it with a lifetime, by DHCP or by router advertisement; or as VRRP and cluster managers "
            "add it: on a macvlan, or as a host address (/32, /128) beside others.",
            "Give the gateway a fixed address there and write it as `translate: {snat: ADDRESS}`; `translate: "
            "masquerade` follows a lease that changes.",
        ),
        Code(
            "other-interface-answers",
            "Another interface of the gateway answers ARP for the crossing's next hop.",
            "Both have an address in one network, and arp_ignore and arp_filter are 0.",
            "`sysctl -w net.ipv4.conf.INTERFACE.arp_ignore=1` for the other one, or put it into another network.",
        ),
        Code(
            "setting-overridden",
            "Another file sets the same kernel setting to another value, and is read later.",
            "/etc/sysctl.conf, or a file in a sysctl.d folder that sorts after crossnet's.",
            "Remove that line; until then `sysctl --system` by hand switches forwarding off.",
        ),
        Code(
            "ends-crossing",
            "A crossing that stands on the host ends there.",
            "The host's record has a crossing that this spec does not have, or that the host is no longer part of.",
            "If it is still needed, put it into this spec. If somebody else applied it, their spec has the name of "
            "yours: give yours a `name:` of its own.",
        ),
        Code(
            "crossing-passes",
            "A crossing that stands on the host goes on under another name, as one of this spec, or through another "
            "gateway.",
            "The spec asks for the same need under another name, another spec's crossing has the same name and need, "
            "or `via` names another host.",
            "Nothing, if that is what you want. From now on it stands in your spec, not in that of whoever applied it "
            "before.",
        ),
        Code(
            "unrecorded",
            "What crossnet made stands on the host, and its record of what was there before is missing, damaged or "
            "incomplete.",
            "A table, chain, route with protocol 143, file or unit that only crossnet makes, and that is not in "
            "/var/lib/crossnet/applied.json.",
            "Restore the record from a backup if there is one. Otherwise `crossnet apply` makes it anew, and "
            "`crossnet undo` removes what only crossnet makes; forwarding then counts as off before crossnet.",
        ),
        # ---- what stops packets on their way, or may: in brackets behind a rule, route or setting ----
        Code(
            "filter-rule-drop",
            "A rule drops packets, or does something that can drop them.",
            "The rules of the chain that is named, walked with these packets; what could not be known stands after "
            "`if`.",
            "Put a rule that accepts before that one, in its owner's own tool: firewalld, ufw, docker, "
            "iptables or nft.",
        ),
        Code(
            "filter-policy-drop",
            "No rule of a chain accepts packets, and the chain's policy drops them.",
            "The chain that is named, walked with these packets.",
            "Accept them there: new ones on the way there, `ct state established,related` on the way back.",
        ),
        Code(
            "filter-reject",
            "A rule refuses packets, and tells their sender.",
            "The rules of the chain that is named, walked with these packets.",
            "Put a rule that accepts before that one, in its owner's own tool.",
        ),
        Code(
            "src-output-filtered",
            "A host's own rule drops what the host sends.",
            "The rules at its output hook, walked with these packets.",
            "Put a rule that accepts before that one, in its owner's own tool.",
        ),
        Code(
            "queue-without-listener",
            "A rule gives packets to a program, which decides; without the program they are dropped.",
            "A rule with `queue` or `NFQUEUE` meets these packets.",
            "Start the program, add `bypass` to the rule, or exclude the crossing from the rule.",
        ),
        Code(
            "link-down",
            "An interface on the way is down, or IPv6 is off on it.",
            "The flags of the interface, its disable_ipv6, and an MTU below 1280.",
            "`ip link set INTERFACE up`; without a carrier, check the cable or the port. Its routes have to be added "
            "again.",
        ),
        Code(
            "next-hop-unresolved",
            "The next hop did not answer when its address was last asked for.",
            "The neighbour is FAILED in the list of neighbours.",
            "`arping -I INTERFACE NEXT-HOP`; on the next hop, check the interface and its address.",
        ),
        Code(
            "arp-not-answered",
            "A host has the address that is asked for, and does not answer for it on that interface.",
            "arp_ignore of the interface, and where the address is.",
            "`sysctl -w net.ipv4.conf.INTERFACE.arp_ignore=0`, or give the interface an address of its own.",
        ),
        Code(
            "destination-absent",
            "Perhaps no host has the destination's address: it was asked for, and did not answer.",
            "The neighbour is FAILED in the list of neighbours.",
            "`arping -I INTERFACE DESTINATION`; correct the address, or start the host.",
        ),
        Code(
            "destination-is-broadcast",
            "The destination is a broadcast or multicast address, which is not forwarded.",
            "The type of the route to it.",
            "Name the addresses of hosts in `to`.",
        ),
        Code(
            "interface-forwarding-disabled",
            "An interface does not forward what comes in by it, though the host forwards.",
            "net.ipv4.conf.INTERFACE.forwarding is 0.",
            "`sysctl -w net.ipv4.conf.INTERFACE.forwarding=1`, and the same in /etc/sysctl.d.",
        ),
        Code(
            "reverse-path-filter",
            "A host drops packets whose source it would answer by another interface.",
            "The greater of rp_filter of `all` and of the interface, and the route back to the source.",
            "Give the host a route to the source by that interface, or `sysctl -w "
            "net.ipv4.conf.INTERFACE.rp_filter=2`.",
        ),
        Code(
            "martian-source",
            "No packet can come from such a source: it is the host's own address, no host's address, or one that is "
            "never forwarded.",
            "The host's addresses, and the type of the route to the source.",
            "Remove the address from the host that should not have it, or give the sender another one.",
        ),
        Code(
            "route-blackhole",
            "A blackhole route drops packets, and nobody is told.",
            "The route that wins, and the policy rule that looks in its table.",
            "`ip route del blackhole NETWORK`, or add a more specific route.",
        ),
        Code(
            "route-unreachable",
            "An unreachable route refuses packets, and their sender is told that the host cannot be reached.",
            "The route that wins, and the policy rule that looks in its table.",
            "`ip route del unreachable NETWORK`, or add a more specific route.",
        ),
        Code(
            "route-prohibit",
            "A prohibit route or policy rule refuses packets, and their sender is told so.",
            "The route that wins, or the policy rule.",
            "`ip route del prohibit NETWORK`, `ip rule del pref NUMBER`, or add a more specific route.",
        ),
        Code(
            "route-not-told",
            "A route takes packets, and the host's tools do not show all of it.",
            "The route as the host's `ip` prints it; busybox's, for one, does not show several next hops.",
            "Install iproute2 on the host, or give that route a single next hop.",
        ),
        Code(
            "forwarding-loop",
            "Packets come back to a host unchanged.",
            "The routes of the hosts that they pass.",
            "Correct the route of the host that sends them back.",
        ),
        Code(
            "ttl-expired",
            "The packets' time to live runs out at a host that should forward them.",
            "A rule that sets it, or the number of hosts on the way.",
            "Rule out a forwarding-loop; remove the rule that lowers it.",
        ),
        Code(
            "mtu-exceeded",
            "Packets are longer than what the interface or the route can carry.",
            "The MTU of the link and of the route, against the packets' length.",
            "`ip link set INTERFACE mtu NUMBER` where the network allows it, or clamp TCP's segments to the "
            "path's MTU.",
        ),
        Code(
            "conntrack-table-full",
            "The connection tracking table is full: packets of new flows are dropped.",
            "net.netfilter.nf_conntrack_count has reached nf_conntrack_max.",
            "`sysctl -w net.netfilter.nf_conntrack_max=NUMBER`, and the same in /etc/sysctl.d.",
        ),
        Code(
            "tc-or-xdp-drop",
            "A program or a filter at an interface sees packets before or after all rules, and may drop them.",
            "XDP at the link, a filter or classifier of tc, or a queue that drops; what it does is not read.",
            "`tc filter show dev INTERFACE ingress`, `ip link set dev INTERFACE xdp off`; ask its owner.",
        ),
        Code(
            "ipsec-policy-drop",
            "An IPsec policy applies to these packets, and may drop them or send them another way.",
            "`ip xfrm policy` on the host.",
            "Exclude the crossing in the IPsec configuration.",
        ),
        Code(
            "dnat-captures",
            "A rule gives packets another destination before they are routed.",
            "The rule that is named, walked with these packets.",
            "Exclude the crossing's clients or destinations in its owner's own tool.",
        ),
        Code(
            "snat-missing",
            "Nothing gives packets a source that their destination is sure to find a way back to.",
            "They leave with a source that is in none of the gateway's networks there.",
            "Write `translate: snat`, or give the destination a route to the clients through the gateway.",
        ),
        Code(
            "reply-not-untranslated",
            "Answers come to an address of a host on the way, and nothing translates it back to the client's.",
            "A translated flow whose answers connection tracking does not see as its own: notrack, or another"
            " zone.",
            "Exclude the crossing from the rule with `notrack` or a zone, in both directions alike.",
        ),
        # ---- what verify finds ----
        Code(
            "src-no-route",
            "The client has no route to the destination.",
            "The probe could not be sent: network is unreachable.",
            "Run `crossnet apply`, or on the client `ip route add NETWORK via NEXT-HOP dev INTERFACE`.",
        ),
        Code(
            "src-route-other-next-hop",
            "The client's winning route uses a gateway or interface other than the crossing's.",
            "The client's main routing table, for the probe's destination.",
            "Run `crossnet apply`; where a more specific route of somebody else wins, remove it.",
        ),
        Code(
            "ip-forward-disabled",
            "The gateway does not forward packets.",
            "net.ipv4.ip_forward, or IPv6's net.ipv6.conf.all.forwarding, is 0 on the gateway.",
            "Run `crossnet apply`, which also writes it for the next boot.",
        ),
        Code(
            "destination-port-closed",
            "The destination answers that nothing listens on that port: the path is fine.",
            "A connection was refused.",
            "Start the service there, or correct the port in `probe`.",
        ),
        Code(
            "destination-silent",
            "The flow left the gateway as the spec promises, and no reply came back there.",
            "The crossing's counter moved, connection tracking knows the flow and no answer to it, whoever it is sent "
            "to has answered ARP, and nothing on the gateway or the client is known to stop it.",
            "Check that the destination is up, answers this probe and knows the way back to the source.",
        ),
        Code(
            "lost-between",
            "The client sent, and the gateway's rule for the crossing did not see a new flow.",
            "The crossing's counter did not move, and connection tracking has no such flow.",
            "Look at the client's route, at what lies between, and at other rules on the gateway.",
        ),
        Code(
            "stopped-on-gateway",
            "The gateway admitted the flow, and it did not get as far as leaving the gateway.",
            "The crossing's counters, and connection tracking, which knows a flow only when it has passed all rules; "
            "or the interface to the destination sent nothing.",
            "Look at others' rules after crossnet's own on the gateway, also in postrouting and tc; accept the "
            "crossing in their owner's own tool.",
        ),
        Code(
            "reply-lost",
            "The destination answers: the answer came back to the gateway, and did not reach the client.",
            "Connection tracking has seen the reply, and the client has not.",
            "Look at others' rules on the gateway for the way back, at what lies between gateway and client, and at "
            "the client's own rules.",
        ),
        Code(
            "static-dynamic-disagree",
            "The flow passes, but not in the way the spec promises.",
            "The crossing's counter did not move, or connection tracking shows another source.",
            "Look at the client's routes and at other translation rules on the gateway.",
        ),
    )
}
