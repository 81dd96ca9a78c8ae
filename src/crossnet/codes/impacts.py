"""What a plan opens, closes and changes, and what to know about it."""

from __future__ import annotations

from crossnet.codes.code import Code

IMPACTS = (
    Code(
        "gains-reachability",
        "Flows that pass after the change and did not before.",
        "The crossing's clients, destinations and `allow`.",
        "It is what the crossing is for; narrow `from`, `to` or `allow` if it is too much.",
    ),
    Code(
        "loses-reachability",
        "Flows that passed before the change and will not after it.",
        "The gateway forwarded before, and `fence: on` drops what no crossing names; so does `fence: auto` where "
        "only some interfaces forwarded by themselves.",
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
        "forwarding-given-up",
        "The gateway forwarded before crossnet, does not any more, and gets a fence now.",
        "net.ipv4.ip_forward (or IPv6's) was 1 before the first apply, is 0 now, and no file of sysctl.d sets it at a "
        "boot: as where docker had switched it on and did not start. What kept others out then is gone, too.",
        "Nothing, if only the crossings are to pass. If docker is to do it again, start it instead of applying.",
    ),
    Code(
        "changes-source-identity",
        "The destination sees the gateway's address, in its logs and access lists too.",
        "The crossing translates the source.",
        "Give the destination a route back and write `translate: none` if it must see the clients.",
    ),
    Code(
        "answers-for-others",
        "The gateway begins to answer ARP for addresses that are not its own.",
        "`proxy_arp` of an interface, or of `all`, is 1, which has no effect as long as the host does not forward.",
        "`sysctl -w net.ipv4.conf.INTERFACE.proxy_arp=0`, the same of `all`, and where it is set at boot, unless hosts "
        "there need it.",
    ),
    Code(
        "own-traffic-translated",
        "What the gateway itself sends from an address among the clients is translated too.",
        "`from` is a network in which the gateway has an address, and a program of its own uses that as the source.",
        "Nothing, unless a program there is known to the destination by that address: leave it out of `from` then, as "
        "two networks around it.",
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
        "`persist: none`, or neither systemd nor OpenRC nor SysV init runs on the host.",
        "Leave `persist: auto`; in a container without an init, run `crossnet apply` after a reboot.",
    ),
    Code(
        "taken-away",
        "Another program may have taken away, moved or changed what the plan brings back.",
        "When units of firewalls and of the network were started, stopped or reloaded, and an interface changed, as "
        "systemd and who keeps the interface tell; when it was applied. Nobody has seen which of them it was.",
        "Look into that program's settings if it will do so again. `heal: auto` brings back what is taken away.",
    ),
    Code(
        "heals",
        "The host brings back by itself, within seconds, what another program takes away of crossnet's own.",
        "`heal: auto` in the spec.",
        "Nothing has to be done; `crossnet status` tells when it did so. `heal: none` leaves it to `apply`.",
    ),
    Code(
        "not-healed",
        "`heal: auto` does nothing on the host, or for what is named: what another program takes away stays away until "
        "`apply`.",
        "systemd does not run on the host.",
        "Look at `crossnet status`, and run `crossnet apply` where it tells of drift.",
    ),
    Code(
        "beside-firewalld",
        "firewalld rejects what it does not know, so crossnet's policy there lets just the crossing pass.",
        "firewalld runs on the gateway, and no zone of it lets these packets pass.",
        "Nothing has to be done. What firewalld rejects by a policy of its own with a lower priority stays rejected.",
    ),
    Code(
        "firewalld-flushes",
        "crossnet's rules stand in iptables, whose rules firewalld flushes whenever it is reloaded.",
        "firewalld runs on the gateway, and the rules are in the variant of iptables that the host calls `iptables`.",
        "`crossnet apply` puts them back; after `systemctl reload firewalld` they come back by themselves. With nft "
        "and a kernel of 4.18 or later `firewall: nftables` keeps them out of its way.",
    ),
    Code(
        "kept-by-owner",
        "Routes are written for the next boot where the program that keeps their interface looks for them, or why not.",
        "Who keeps the interface, as the running programs say; the file in which such routes stand.",
        "Nothing has to be done; `persist: unit` has crossnet's own unit bring them back instead.",
    ),
    Code(
        "owner-remembers",
        "Who keeps an interface has read the file before out of which crossnet takes something, and goes by that.",
        "Who keeps the interface, as the running programs say; the files that the plan changes.",
        "Reload it at a good moment with the command that the text names, or reboot.",
    ),
    Code(
        "edits-lost",
        "Somebody has written into a file of crossnet's own, and the plan writes it anew or takes it away.",
        "What the file says, compared with what crossnet's record says that it wrote.",
        "Put those lines into a file of their own: another drop-in, another file of sysctl.d.",
    ),
    Code(
        "edits-stay",
        "Somebody has edited crossnet's entry in a file of others: what it says by now stays there.",
        "Lines of the file about the same network or address, where crossnet's are not as it wrote them.",
        "Take the line out yourself where it is not wanted: it is set again at the next boot.",
    ),
    Code(
        "cloud-init-rewrites",
        "An entry of crossnet's is in a file that cloud-init made, and is lost when cloud-init makes it anew.",
        "The head or the name of that file, and cloud-init's configuration, in which its part for the network is not "
        "disabled.",
        "Disable that part, where the network shall stay as it is: `network: {config: disabled}` in a file of "
        "/etc/cloud/cloud.cfg.d. Or write `persist: unit`, and crossnet's own unit brings the route back.",
    ),
    Code(
        "engines-mixed",
        "Rules of more than one firewall engine are live on the host, and a packet has to pass all of them.",
        "nft, iptables-nft-save and iptables-legacy-save show rules of more than one.",
        "Nothing has to be done: crossnet uses the one that already holds rules. It is better to keep to one.",
    ),
    Code(
        "destination-is-gateway",
        "A destination is an address of the gateway itself, which answers by itself and forwards nothing.",
        "The address lists of the gateway. What arrives there meets its rules for input, and none of the crossing's.",
        "Leave it out of `to` where the clients can use the gateway's address on their own network; where they must "
        "use that one, no probe proves it.",
    ),
    Code(
        "redirects-clients",
        "The gateway's own ICMPv6 redirects lead clients past it.",
        "A crossing that leaves by the interface by which it comes, and a `next-hop` that is link-local: redirects "
        "come from that very address.",
        "Write `next-hop` with an address of the gateway that is not link-local: then clients heed none.",
    ),
    Code(
        "drop-overtaken",
        "Rules of somebody else that stop packets of the crossing today do so no more: crossnet's own come first.",
        "In iptables crossnet's chain is entered at the top of FORWARD, and what it accepts meets no rule below. Of "
        "these the ones that name some packets are told, not a policy, and not the rule that ends the chain.",
        "If that rule is to hold for the crossing too, take what it names out of `from`, `to` or `allow`; or put "
        "the drop into the table raw or mangle, which crossnet's own accept does not end.",
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
        "A probe that the spec names would not pass, so an apply that changes anything would be rolled back.",
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
        "takes-metadata-service",
        "The crossing's destinations hold the metadata service of a cloud: a client asks the gateway's cloud, as the "
        "gateway, and no longer its own.",
        "169.254.169.254 lies in `to`, and the client has no route of its own to it but its default route.",
        "Leave it out: `to: {networks: …, except: 169.254.0.0/16}`.",
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
        "beside-others",
        "Somebody else keeps a firewall on the gateway; what crossnet has there beside it, and what the other's next "
        "reload does to that.",
        "Chains and tables with the names that these programs give, and units that run (`crossnet facts`).",
        "Nothing. How each of them was tried: docs/guide/beside-firewalls.md.",
    ),
    Code(
        "forwarding-left",
        "Others had forwarding on before crossnet, and go on to switch it on at a boot: crossnet does not.",
        "docker, libvirt, kubernetes, or firewalld that translates runs there, or ufw or shorewall has a line that "
        "does so; no file of sysctl.d does, and no fence is asked for.",
        "Nothing. Where they do not start any more the crossing waits after a boot for `crossnet apply`, which brings "
        "a fence then. Write `fence: on`, and crossnet switches it on itself, for its crossings alone.",
    ),
    Code(
        "setting-overridden",
        "A file gives a kernel setting of crossnet another value, and is read later: at boot, by `sysctl`, or when a "
        "program starts.",
        "/etc/sysctl.conf, files in a sysctl.d folder that sort after crossnet's, and those of ufw, shorewall, tuned, "
        "systemd-networkd, NetworkManager and cloud-init where they are in use (docs/guide/persistence.md).",
        "Remove that line, or give it crossnet's value.",
    ),
    Code(
        "way-not-kept",
        "The gateway's own route to the destinations, or back to the clients, was set by a command: the next boot may "
        "not bring it back, and the crossing works no more without it.",
        "A route with the protocol `boot`, which `ip route add` gives it, by an interface that systemd-networkd or "
        "NetworkManager keeps; of other keepers no route tells.",
        "Write the route where its interface is kept, unless a program of yours sets it at each boot.",
    ),
    Code(
        "way-gone",
        "The gateway has a route no more by which the crossing went when it was last verified.",
        "What the gateway keeps of that verification: the routes that nothing known brings back at a boot.",
        "Set the route again, and write it where its interface is kept; then `crossnet verify`. Where the destination "
        "is reached by another way now, `crossnet verify` is enough.",
    ),
    Code(
        "ends-crossing",
        "A crossing that stands on the host ends there.",
        "The host's record has a crossing that this spec does not have, or that the host is no longer part of.",
        "If it is still needed, put it into this spec. If somebody else applied it, their spec has the name of "
        "yours: give yours a `name:` of its own.",
    ),
    Code(
        "changes-crossing",
        "A crossing that somebody else applied becomes another.",
        "The host's record has a crossing of this spec's name and of this name, applied by another person or from "
        "another machine.",
        "Look at what closes. If that was another file, or another `connect`, both specs have one name: give yours a "
        "`name:` (`--name`) of its own.",
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
)
