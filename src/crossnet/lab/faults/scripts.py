"""What faults run on hosts to take something away, and to put it back where nobody else has meanwhile.

All of it is sh with arguments. What crossnet made (routes of protocol 143, and what it set on a host whose record
says that a crossing stands) is put back only while a crossing stands there still: `crossnet undo` has taken it
away for good.
"""

from __future__ import annotations

_RECORD = "/var/lib/crossnet/applied.json"

# The routes that a destination matches, as a family of `ip` and the words that `ip route add` reads again.
ROUTES_TO = ("sh", "-c", 'ip "$1" route show to match "$2" type unicast | sed "s/^/$1 /"', "sh")
TAKE_ROUTES = (
    "sh",
    "-c",
    """
    ip "$1" route show to match "$2" type unicast | while read -r route; do
        ip "$1" route del $route || exit
    done
    """,
    "sh",
)

# An interface's addresses, and the routes that go with it when it goes down or loses its address. A route that the
# kernel makes with an address comes back by itself.
WHAT_HANGS_ON = (
    "sh",
    "-c",
    """
    ip -o address show dev "$1" scope global | while read -r _ _ family address _; do echo "$family $address"; done
    for version in -4 -6; do
        ip "$version" route show dev "$1" | grep -v 'proto kernel' | while read -r route; do
            echo "$version $route dev $1"
        done
    done
    """,
    "sh",
)

# `nodad`: as in the lab's boot, an address is usable at once. What somebody has put back meanwhile stays as it is.
PUT_BACK = (
    "sh",
    "-c",
    f"""
    add() {{
        said=$("$@" 2>&1) && return
        case $said in *exists* | *assigned*) ;; *) echo "$said" >&2; failed=1 ;; esac
    }}
    failed=0
    while read -r kind rest; do
        case $kind in
        inet) add ip address add "$rest" brd + dev "$1" ;;
        inet6) add ip address add "$rest" dev "$1" nodad ;;
        *)
            case " $rest " in *" proto 143 "*) [ -e {_RECORD} ] || continue ;; esac
            add ip "$kind" route add $rest
            ;;
        esac
    done
    exit "$failed"
    """,
    "sh",
)

# The setting and what it is; with "crossing" before it where crossnet may have set it.
SETTING = ("sh", "-c", f'[ ! -e {_RECORD} ] || echo crossing; cat "/proc/sys/$1"', "sh")
SET = ("sh", "-c", 'echo "$2" >"/proc/sys/$1"', "sh")
# Only where it is still what the fault made of it.
SET_BACK = (
    "sh",
    "-c",
    f"""
    read -r was
    if [ "$was" = crossing ]; then
        read -r was
        [ -e {_RECORD} ] || [ "$3" != crossing ] || exit 0
    fi
    [ "$(cat "/proc/sys/$1")" != "$2" ] || echo "$was" >"/proc/sys/$1"
    """,
    "sh",
)

MTU = ("sh", "-c", 'cat "/sys/class/net/$1/mtu"', "sh")
SET_MTU = ("sh", "-c", 'ip link set "$1" mtu "$2"', "sh")
SET_MTU_BACK = (
    "sh",
    "-c",
    'read -r was; [ "$(cat "/sys/class/net/$1/mtu")" != "$2" ] || ip link set "$1" mtu "$was"',
    "sh",
)

# iptables makes its table with its first rule, and leaves it there with the last.
FILTER_TABLE = ("sh", "-c", 'nft list table "$1" filter >/dev/null 2>&1 && echo there || echo absent', "sh")
TAKE_RULE_OUT = (
    "sh",
    "-c",
    """
    read -r was
    tool=$1 family=$2
    shift 2
    "$tool" -w -C "$@" 2>/dev/null || exit 0
    "$tool" -w -D "$@" || exit
    [ "$was" = absent ] && [ -z "$("$tool" -S | grep -v -- '-P .* ACCEPT')" ] || exit 0
    nft delete table "$family" filter 2>/dev/null || :
    """,
    "sh",
)

# The rules that give a source, each on a line: how it is listed, then its words. `index` counts from 0. A table that
# iptables manages is asked of iptables alone: nft would put its rules back in a form that iptables cannot read. And
# iptables-legacy is asked only where it has the table: it would make one.
TRANSLATIONS = (
    "sh",
    "-c",
    r"""
    prefix=iptables; [ "$1" = ip ] || prefix=ip6tables
    managed=
    for kind in nft legacy; do
        command -v "$prefix-$kind" >/dev/null || continue
        [ "$kind" = nft ] || grep -qs nat "/proc/net/${1}_tables_names" || continue
        rules=$("$prefix-$kind" -t nat -S 2>/dev/null | awk -v tool="$prefix-$kind" '
            $1 == "-A" { n[$2]++ }
            $1 == "-A" && / -j (SNAT|MASQUERADE)/ {
                place = tool " " $2 " " n[$2]
                sub(/^-A [^ ]+ /, "")
                print place, $0
            }')
        [ -n "$rules" ] || continue
        [ "$kind" != nft ] || managed="$1 nat"
        printf '%s\n' "$rules"
    done
    command -v nft >/dev/null || exit 0
    nft -s -a list ruleset | awk -v managed="$managed" -v word="$1" '
        $1 == "table" { family = $2; table = $3 }
        $1 == "chain" { chain = $2; n = -1 }
        $1 == "type" || $1 == "}" || $1 == "chain" || $1 == "table" { next }
        /^\t\t.* # handle [0-9]+$/ {
            n++
            if ((family != word && family != "inet") || family " " table == managed) next
            if ($0 !~ /(snat|masquerade)/) next
            handle = $NF
            sub(/^[ \t]+/, ""); sub(/ # handle [0-9]+$/, "")
            print "nft", family, table, chain, handle, n, $0
        }'
    """,
    "sh",
)
TAKE_TRANSLATIONS = (
    "sh",
    "-c",
    """
    # From the last one on, so that the positions of the others stay right.
    sed '1!G;h;$!d' | while read -r tool one two three four rest; do
        case $tool in
        nft) nft delete rule "$one" "$two" "$three" handle "$four" || exit ;;
        *) "$tool" -w -t nat -D "$one" "$two" || exit ;;
        esac
    done
    """,
    "sh",
)
PUT_TRANSLATIONS_BACK = (
    "sh",
    "-c",
    r"""
    while read -r tool one two three; do
        if [ "$tool" = nft ]; then
            set -- $three
            chain=$1; at=$3
            rule=${three#"$1 $2 $3 "}
            now=$(nft -s list chain "$one" "$two" "$chain" 2>/dev/null) || continue
            case $now in *"$rule"*) continue ;; esac
            if [ "$at" = 0 ]; then
                nft insert rule "$one" "$two" "$chain" "$rule" || exit
            else
                nft add rule "$one" "$two" "$chain" index "$((at - 1))" "$rule" 2>/dev/null ||
                    nft add rule "$one" "$two" "$chain" "$rule" || exit
            fi
        else
            printf '%s\n' "$three" | xargs "$tool" -w -t nat -C "$one" 2>/dev/null && continue
            "$tool" -t nat -S "$one" >/dev/null 2>&1 || continue
            printf '%s\n' "$three" | xargs "$tool" -w -t nat -I "$one" "$two" || exit
        fi
    done
    """,
    "sh",
)
