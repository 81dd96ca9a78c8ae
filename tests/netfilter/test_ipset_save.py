"""What `ipset save` prints, as the sets that rules ask."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from crossnet.netfilter import ipset_save
from crossnet.netfilter.foreign import Field, Named, Names, Numbers, Rows, Set, Test
from crossnet.netfilter.ipset_save import Held, IpSet, parse_ipset_save, set_tests


def four(*texts: str) -> Numbers:
    networks = [ip_network(text) for text in texts]
    return Numbers.of((int(each.network_address), int(each.broadcast_address)) for each in networks)


def ports(*ranges: int | tuple[int, int]) -> Numbers:
    return Numbers.of((each, each) if isinstance(each, int) else each for each in ranges)


TCP, UDP, ICMP, VRRP = (ports(number) for number in (6, 17, 1, 112))


def only(text: str, filled: frozenset[str] = frozenset()) -> IpSet:
    (read,) = parse_ipset_save(text, filled).values()
    return read


def held(create: str, *members: str) -> dict[str, object]:
    text = "".join((f"create s {create}\n", *(f"add s {member}\n" for member in members)))
    return {each.name: each.members for each in only(text).sets}


def test_addresses_and_networks() -> None:
    assert held("hash:ip family inet hashsize 1024 maxelem 65536", "10.0.0.6", "10.0.0.5") == {
        "s": four("10.0.0.5/32", "10.0.0.6/32")
    }
    assert held("hash:ip family inet netmask 24", "10.0.5.0") == {"s": four("10.0.5.0/24")}
    assert held("bitmap:ip range 10.0.0.0-10.0.255.255 netmask 24", "10.0.5.0") == {"s": four("10.0.5.0/24")}
    assert held("hash:net family inet", "10.0.0.0/8", "10.5.0.0/16") == {"s": four("10.0.0.0/8")}
    assert held("hash:net family inet6", "2001:db8::/32") == {"s": four("2001:db8::/32")}
    assert held("hash:ip family inet bitmask 255.255.255.128", "10.0.0.128") == {"s": four("10.0.0.128/25")}
    # a mask with holes is no range
    assert held("hash:ip family inet bitmask 255.0.255.0", "10.0.5.0") == {"s": None}


def test_the_longest_prefix_decides_whether_a_member_is_an_exception() -> None:
    assert held(
        "hash:net family inet", "1.1.1.1 nomatch", "1.1.1.0/30", "1.1.1.0/28 nomatch", "1.1.1.0/26"
    ) == {"s": four("1.1.1.0/32", "1.1.1.2/31", "1.1.1.16/28", "1.1.1.32/27")}
    # the first network's prefix counts before the second's
    assert held(
        "hash:net,net family inet",
        "10.0.0.0/16,192.168.0.0/24",
        "10.0.0.0/24,192.168.0.0/24 nomatch",
        "10.0.0.0/30,192.168.0.0/25",
    ) == {
        "s": Rows(
            (
                (four("10.0.0.0/30"), four("192.168.0.0/25")),
                (
                    Numbers(((int(ip_address("10.0.1.0")), int(ip_address("10.0.255.255"))),)),
                    four("192.168.0.0/24"),
                ),
            )
        )
    }


def test_the_longest_prefix_decides_whatever_interface_it_is_for() -> None:
    # ipset 7.17: `test s 10.1.0.1,eth0` is NOT in the set
    assert held(
        "hash:net,iface family inet", "10.0.0.0/15,eth0", "10.1.0.0/16,eth1", "10.1.0.0/17,eth1 nomatch"
    ) == {
        "s": Rows(
            (
                (four("10.0.0.0/16"), Names(frozenset({"eth0"}))),
                (four("10.1.128.0/17"), Names(frozenset({"eth1"}))),
            )
        )
    }


def test_ports_belong_to_a_protocol() -> None:
    assert held("bitmap:port range 0-1024", "22", "80") == {
        "s": Rows(((Numbers(((6, 6), (17, 17))), ports(22, 80)),))
    }
    assert held(
        "hash:ip,port family inet",
        "10.0.0.1,tcp:80",
        "10.0.0.1,tcp:81",
        "10.0.0.2,tcp:80",
        "10.0.0.2,tcp:81",
        "10.0.0.1,udp:53",
        "10.0.0.1,icmp:host-prohibited",
        "10.0.0.1,icmp:200/3",
        "10.0.0.1,vrrp:0",
    ) == {
        "s": Rows(
            (
                (four("10.0.0.1/32", "10.0.0.2/32"), TCP, ports(80, 81)),
                (four("10.0.0.1/32"), UDP, ports(53)),
            )
        ),
        "s (icmp)": Rows(
            (
                (four("10.0.0.1/32"), ICMP, ports(3), ports(10)),
                (four("10.0.0.1/32"), ICMP, ports(200), ports(3)),
            )
        ),
        "s (no ports)": Rows(((four("10.0.0.1/32"), VRRP),)),
    }


def test_interfaces_marks_and_what_no_rule_can_say() -> None:
    assert held(
        "hash:net,iface family inet",
        "10.0.0.0/8,eth0",
        "10.0.0.0/8,wan wildcard",
        "192.168.0.0/16,physdev:tap1",
    ) == {
        "s": Rows(
            (
                (four("10.0.0.0/8"), Names(frozenset({"eth0"}))),
                (four("10.0.0.0/8"), Names(frozenset(), frozenset({"wan"}))),
            )
        ),
        "s (physdev)": Rows(((four("192.168.0.0/16"), Names(frozenset({"tap1"}))),)),
    }
    assert held("hash:ip,mark family inet markmask 0xffffff00", "10.0.0.1,0x00000500") == {
        "s": Rows(((four("10.0.0.1/32"), ports((0x500, 0x5FF))),))
    }
    assert held("hash:ip,mark family inet markmask 0x0000FFDE", "10.0.0.1,0x00000500") == {"s": None}
    assert held("hash:mac", "00:00:5E:00:53:01") == {"s": None}
    assert held("hash:invented family inet", "10.0.0.1") == {"s": None}
    assert held("hash:ip family inet", "app.example") == {"s": None}


DIRECTIONS: dict[str, tuple[str, list[tuple[Field, ...]]]] = {
    "src": ("hash:ip", [(Field.SOURCE4,)]),
    "dst": ("hash:net family inet6", [(Field.DESTINATION6,)]),
    "src,dst": ("hash:ip,port", [(Field.SOURCE4, Field.PROTOCOL, Field.DESTINATION_PORT)]),
    "dst,src": ("hash:net,net", [(Field.DESTINATION4, Field.SOURCE4)]),
    "src,src,dst": (
        "hash:ip,port,net",
        [(Field.SOURCE4, Field.PROTOCOL, Field.SOURCE_PORT, Field.DESTINATION4)],
    ),
    "src,src": ("hash:net,iface", [(Field.SOURCE4, Field.IIF)]),
    "dst,dst": ("hash:net,iface", [(Field.DESTINATION4, Field.OIF)]),
    "dst,dst,dst": ("hash:ip,mark", [(Field.DESTINATION4, Field.MARK)]),
}


@pytest.mark.parametrize("directions", DIRECTIONS)
def test_a_direction_chooses_the_side_of_each_part(directions: str) -> None:
    create, fields = DIRECTIONS[directions]
    sets = parse_ipset_save(f"create s {create}\n")
    family = "ip6" if "inet6" in create else "ip"
    tests = set_tests("s", directions.split(","), family, sets)
    assert tests == tuple(Test(each, Named("s", ipset=True)) for each in fields)


def test_a_set_holds_nothing_for_another_family_or_with_too_few_directions() -> None:
    sets = parse_ipset_save("create s hash:ip,port family inet\n")
    assert set_tests("s", ["src", "dst"], "ip6", sets) == ()
    assert set_tests("s", ["src"], "ip", sets) == ()
    assert set_tests("other", ["src"], "ip", sets) is None


def test_a_list_holds_what_its_sets_hold() -> None:
    text = "create a hash:ip\ncreate b hash:ip,port\ncreate m hash:mac\ncreate l list:set size 8\nadd l a\nadd l b\n"
    sets = parse_ipset_save(text)
    assert set_tests("l", ["dst"], "ip", sets) == (Test((Field.DESTINATION4,), Named("a", ipset=True)),)
    assert set_tests("l", ["dst", "dst"], "ip", sets) == (
        Test((Field.DESTINATION4,), Named("a", ipset=True)),
        Test((Field.DESTINATION4, Field.PROTOCOL, Field.DESTINATION_PORT), Named("b", ipset=True)),
    )
    assert set_tests("l", ["dst"], "ip", parse_ipset_save(text + "add l m\n")) is None


def test_only_what_changes_by_itself_is_unsettled() -> None:
    def settled(text: str, filled: frozenset[str] = frozenset()) -> bool:
        return only(text, filled).settled

    assert settled("create s hash:ip timeout 600\nadd s 10.0.0.1 timeout 0\n")
    assert settled("create s hash:ip counters\nadd s 10.0.0.1 packets 5 bytes 300\n")
    assert settled('create s hash:ip comment\nadd s 10.0.0.1 comment "timeout 5 nomatch"\n')
    assert not settled("create s hash:ip timeout 600\nadd s 10.0.0.1 timeout 599\n")
    assert not settled("create s hash:ip forceadd\n")
    assert not settled("create s hash:ip\n", frozenset({"s"}))
    assert only("create s hash:ip timeout 9\nadd s 10.0.0.1 timeout 5\n").sets == (
        Set("s", four("10.0.0.1/32"), settled=False),
    )


def test_the_words_of_ipset_4() -> None:
    text = """\
# Generated by ipset 4.5 on Sat Mar 10 12:00:00 2012
-N plain iphash --hashsize 1024 --probes 8 --resize 50
-A plain 10.0.0.1
-N nets nethash --hashsize 1024
-A nets 10.0.0.0/8
-N tree iptree --timeout 60
-A tree 10.0.0.2,30
-N map ipmap --from 10.0.0.0 --to 10.0.0.255
-A map 10.0.0.3
-N both ipporthash --from 10.0.0.0 --to 10.0.255.255
-A both 10.0.0.4,80
-N ports portmap --from 0 --to 1024
-A ports 22
-N all setlist --size 8
-A all plain
COMMIT
"""
    read = parse_ipset_save(text)
    assert {name: each.sets[0].members for name, each in read.items()} == {
        "plain": four("10.0.0.1/32"),
        "nets": four("10.0.0.0/8"),
        "tree": four("10.0.0.2/32"),
        "map": four("10.0.0.3/32"),
        "both": Rows(((four("10.0.0.4/32"), TCP, ports(80)),)),
        "ports": Rows(((Numbers(((6, 6), (17, 17))), ports(22)),)),
        "all": None,
    }
    assert [name for name, each in read.items() if not each.settled] == ["tree"]


def test_a_line_end_in_a_comment_ends_no_line() -> None:
    text = 'create s hash:ip comment\nadd s 10.0.0.1 comment "one\ntwo\u2028three"\nadd s 10.0.0.2\n'
    assert only(text).sets[0].members == four("10.0.0.1/32", "10.0.0.2/32")


def test_a_line_that_no_ipset_prints_is_told() -> None:
    with pytest.raises(ValueError, match="Kernel error"):
        parse_ipset_save("ipset v7.17: Kernel error received: Operation not permitted\n")


def test_members_are_read_when_somebody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    whole = ipset_save._set

    def noting(name: str, *rest: Any) -> IpSet:
        read.append(name)
        return whole(name, *rest)

    monkeypatch.setattr(ipset_save, "_set", noting)
    sets = parse_ipset_save(
        "create a hash:ip\nadd a 10.0.0.1\ncreate b hash:ip,port\nadd b 10.0.0.1,icmp:8/0\n"
    )
    assert (list(sets), read) == (["a", "b"], [])
    held = Held(sets)
    assert held["b (icmp)"].members is not None
    assert read == ["b"]
    assert held.get("c") is None
    assert held.get("b (physdev)") is None
    assert sorted(held) == ["a", "b", "b (icmp)"]
