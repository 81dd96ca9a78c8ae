"""The page of a diagnosis: whole, safe, and telling by words what it tells by colour."""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossnet.show.page import page
from crossnet.show.page.hops import Hop, hops
from crossnet.verdict import Action, Also, Between, Diagnosis, Half, Observation, Place, Result
from show import diagnoses
from show.diagnoses import DIAGNOSES

VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(HTMLParser):
    """What a page holds; reading it fails where an element is not closed in its place."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.labels: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))
        if self.open and self.open[-1] == "text":
            self.labels.append((str(self.elements[-1][1].get("class")), data))

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.elements)

    def text(self) -> str:
        """What is read on the page, without its style and script."""
        return "".join(text for tag, text in self.texts if tag not in ("style", "script"))

    def drawn(self, kind: str) -> list[str]:
        """The texts of a kind in the drawings."""
        return [text for classes, text in self.labels if classes == kind]


def read(found: Diagnosis) -> Page:
    return Page(page(found))


@pytest.fixture(params=DIAGNOSES)
def shown(request: pytest.FixtureRequest) -> Page:
    return read(DIAGNOSES[request.param])


# ---- every page ----------------------------------------------------------------------------------


def test_it_is_well_formed_and_every_id_is_there_once(shown: Page) -> None:
    ids = Counter(attrs["id"] for _, attrs in shown.elements if "id" in attrs)
    assert max(ids.values()) == 1
    for _, attrs in shown.elements:
        for name in ("aria-labelledby", "aria-describedby"):
            assert set((attrs.get(name) or "").split()) <= set(ids)


def test_it_asks_nothing_of_any_network(shown: Page) -> None:
    for tag, attrs in shown.elements:
        assert tag not in {
            "img",
            "iframe",
            "object",
            "embed",
            "form",
            "base",
            "video",
            "audio",
            "use",
            "image",
        }
        for name, value in attrs.items():
            assert not name.startswith("on"), name
            assert name not in {"style", "src", "srcset", "action", "formaction", "data"}, name
            if name.endswith("href"):
                assert value in {"#main", "data:,"}
            if tag == "meta" and name == "http-equiv":
                assert value == "Content-Security-Policy"
    style = next(text for tag, text in shown.texts if tag == "style")
    assert not re.search(r"url\(|@import|//", style)


def test_its_policy_lets_its_own_style_and_script_in_and_nothing_else(shown: Page) -> None:
    policy = next(attrs["content"] for _, attrs in shown.elements if "http-equiv" in attrs)
    rules = dict(rule.strip().split(" ", 1) for rule in str(policy).split(";"))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    for tag in ("style", "script"):
        assert shown.count(tag) == 1
        own = next(text for name, text in shown.texts if name == tag)
        digest = base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()
        assert rules[f"{tag}-src"] == f"'sha256-{digest}'"


def test_headings_go_down_step_by_step(shown: Page) -> None:
    levels = [int(tag[1]) for tag, _ in shown.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_every_place_where_it_stops_is_told_in_words(shown: Page) -> None:
    """A red shape never stands alone: beside each in the drawing there are its words."""
    marks = sum(
        tag == "polygon" and "stops" in str(attrs.get("class")).split() for tag, attrs in shown.elements
    )
    assert marks == len(shown.drawn("stops"))


# ---- what comes from hosts -----------------------------------------------------------------------


def test_hostile_texts_are_only_ever_text() -> None:
    shown = read(diagnoses.HOSTILE)
    assert shown.count("script") == shown.count("style") == 1
    assert shown.count("b") == shown.count("img") == shown.count("iframe") == 0
    assert diagnoses.SCRIPT in shown.text()


def test_no_control_character_reaches_the_browser() -> None:
    text = page(diagnoses.HOSTILE)
    assert all(one.isprintable() or one == "\n" for one in text)
    assert r"gate\u202eyaw\x1b[31m\x00\u200f" in text


def test_a_command_stays_one_line_so_that_copying_it_runs_nothing_else() -> None:
    text = page(diagnoses.HOSTILE)
    assert "echo &#x27;&lt;script&gt;alert(1)&lt;/script&gt;&#x27;\\nrm -rf /" in text


def test_a_name_of_any_length_does_not_widen_the_drawing_without_end() -> None:
    wide = page(replace(diagnoses.FORWARDING_OFF, client="a" * 5000))
    width = re.search(r'class="path"[^>]*viewBox="0 0 (\d+)', wide)
    assert width
    assert int(width[1]) < 1500


# ---- what it tells -------------------------------------------------------------------------------


def test_where_why_and_what_to_do() -> None:
    text = read(diagnoses.FORWARDING_OFF).text()
    for words in (
        "Not reachable",
        "The request was dropped at gateway eth1.",
        "ip-forward-disabled",
        "proved",
        "Ip.InAddrErrors on gateway rose by 3",
        "sysctl -w net.ipv4.ip_forward=1",
        "snat-missing",
        "iptables -t nat -A POSTROUTING",
        "return-path-not-checked",
    ):
        assert words in text, words


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no-route", "The request did not leave app."),
        ("reachable", "The request arrives, and the reply comes back."),
        ("reply-lost", "The reply was lost between gateway eth1 and app eth0."),
        ("long", "Some of what is sent stops here: the request was dropped at gateway eth1."),
        ("nothing-seen", "The request could not be followed to its end; the reply could not be followed"),
    ],
)
def test_the_first_sentence_says_where_it_stops(name: str, words: str) -> None:
    assert words in read(DIAGNOSES[name]).text()


def test_a_translation_stands_where_it_happens() -> None:
    shown = read(diagnoses.REACHABLE)
    assert shown.drawn("translation") == ["10.0.43.15 → 10.0.44.63", "10.0.44.63 → 10.0.43.15"]


def test_what_would_stop_it_next_is_marked_in_the_drawing_too() -> None:
    shown = read(diagnoses.NO_ROUTE)
    assert shown.drawn("also") == ["then 1: ip-forward-disabled", "then 2: snat-missing"]


def test_a_path_that_works_shows_no_stop() -> None:
    shown = read(diagnoses.REACHABLE)
    assert "stops here" not in shown.text()
    assert shown.drawn("arrives") == ["arrives", "arrives"]


def test_only_where_a_packet_is_known_to_have_come_a_line_is_drawn() -> None:
    at_its_interface = replace(
        diagnoses.NO_ROUTE, forward=replace(diagnoses.NO_ROUTE.forward, at=Place("app", "eth0"))
    )
    assert lines(at_its_interface) == []
    assert lines(diagnoses.FORWARDING_OFF) == ["passed request"]
    assert lines(diagnoses.REPLY_LOST) == ["passed request", "passed reply"]


def lines(found: Diagnosis) -> list[str]:
    classes = [str(attrs.get("class")) for tag, attrs in read(found).elements if tag == "line"]
    return [name for name in classes if name.startswith("passed")]


def test_candidates_stand_in_their_order() -> None:
    text = read(diagnoses.SILENT).text()
    assert "Likeliest first: destination-silent, no-return-route, echo-ignored, filter-rule-drop" in text


def test_an_observation_of_every_kind_is_in_the_table() -> None:
    shown = read(diagnoses.V6)
    assert shown.count("tr") == len(diagnoses.V6.observations) + 1
    assert "error received" in shown.text()


def test_nothing_seen_is_said() -> None:
    assert "No packet was observed." in read(diagnoses.NOTHING_SEEN).text()


# ---- the order of the hops -----------------------------------------------------------------------


def test_the_path_is_in_the_order_in_which_a_packet_meets_it() -> None:
    assert hops(diagnoses.REACHABLE) == (
        Hop("app", None, "eth0"),
        Hop("gateway", "eth1", "eth0"),
        Hop("10.0.44.1", is_destination=True, is_seen=False),
    )


@pytest.mark.parametrize("name", ["no-route", "forwarding-off", "filter-drop", "untranslated", "reply-lost"])
def test_it_is_the_same_path_wherever_it_stops(name: str) -> None:
    assert hops(DIAGNOSES[name]) == hops(diagnoses.REACHABLE)


def test_a_destination_that_was_watched_is_the_last_hop() -> None:
    found = replace(
        diagnoses.FORWARDING_OFF,
        observations=(
            *diagnoses.UNTRANSLATED.observations[:3],
            Observation(0.0002, "target", "eth0", None, Action.RECEIVED, "request", ""),
            Observation(0.0002, "target", None, None, Action.DELIVERED, "request", ""),
        ),
    )
    assert hops(found)[-1] == Hop("target", "eth0", None, is_destination=True)


def test_a_destination_that_took_the_request_and_did_not_answer_is_the_last_hop() -> None:
    found = replace(
        diagnoses.UNTRANSLATED,
        forward=Half("delivered"),
        observations=(
            *diagnoses.UNTRANSLATED.observations[:3],
            Observation(0.0002, "target", "eth0", None, Action.RECEIVED, "request", ""),
        ),
    )
    assert hops(found)[-1] == Hop("target", "eth0", None, is_destination=True)


def test_a_gateway_whose_reply_was_seen_leaving_only_is_not_the_destination() -> None:
    found = replace(
        diagnoses.UNTRANSLATED,
        observations=(
            *diagnoses.UNTRANSLATED.observations[:3],
            Observation(0.0003, "gateway", "eth1", None, Action.REPLIED, "reply", ""),
        ),
    )
    assert [hop.host for hop in hops(found)] == ["app", "gateway", "10.0.44.1"]


def test_both_translations_of_a_packet_stand_where_they_happen() -> None:
    both = "10.0.43.15 → 10.0.44.63, 10.0.44.1 → 10.0.44.9"
    (first, second, last, *_) = diagnoses.REACHABLE.observations
    found = replace(diagnoses.REACHABLE, observations=(first, second, replace(last, translation=both)))
    assert read(found).drawn("translation") == both.split(", ")


def test_a_host_that_was_watched_as_a_whole_is_a_row_of_its_own() -> None:
    waited = Observation(1, "gateway", None, None, Action.ABSENT, "request", "")
    found = replace(
        diagnoses.FORWARDING_OFF, observations=(*diagnoses.FORWARDING_OFF.observations[:2], waited)
    )
    assert read(found).drawn("point") == ["app eth0", "gateway eth1", "gateway"]


def test_a_reply_by_another_way_has_its_host_between_the_others() -> None:
    reply = [
        Observation(0.3, "other", "eth1", None, Action.RECEIVED, "reply", ""),
        Observation(0.4, "other", "eth0", None, Action.SENT, "reply", ""),
        Observation(0.5, "app", "eth0", None, Action.RECEIVED, "reply", ""),
    ]
    found = replace(diagnoses.REACHABLE, observations=(*diagnoses.REACHABLE.observations[:3], *reply))
    assert Hop("other", "eth0", "eth1") in hops(found)
    assert [hop.host for hop in hops(found)][-1] == "10.0.44.1"


def test_an_interface_by_which_it_leaves_instead_is_the_one_that_is_drawn() -> None:
    found = replace(
        diagnoses.FORWARDING_OFF,
        observations=(
            *diagnoses.FORWARDING_OFF.observations,
            Observation(0.0003, "gateway", "eth2", None, Action.SENT, "request", ""),
        ),
    )
    assert hops(found)[1] == Hop("gateway", "eth1", "eth2", ("eth0",))
    assert "eth0: absent" in page(found)


def test_a_request_that_leaves_where_it_came_in_has_that_interface_on_both_sides() -> None:
    found = replace(
        diagnoses.FORWARDING_OFF,
        observations=(
            *diagnoses.FORWARDING_OFF.observations[:2],
            Observation(0.0003, "gateway", "eth1", None, Action.SENT, "request", ""),
        ),
        also=(),
    )
    assert hops(found)[1] == Hop("gateway", "eth1", "eth1")


def test_places_alone_give_a_path() -> None:
    found = replace(
        diagnoses.NOTHING_SEEN,
        forward=Half(
            "lost-between", "lost-between", "", Between(Place("app", "eth0"), Place("gateway", "eth1"))
        ),
    )
    assert hops(found)[:2] == (
        Hop("app", None, "eth0", is_seen=False),
        Hop("gateway", "eth1", None, is_seen=False),
    )


# ---- whatever a diagnosis holds -------------------------------------------------------------------

HOSTS = st.sampled_from(["app", "gateway", "other", "10.0.44.1", ""])
PLACES = st.builds(Place, HOSTS, st.sampled_from([None, "eth0", "eth1", "eth2"]))
ANYWHERE = st.none() | PLACES | st.builds(Between, PLACES, PLACES)
OBSERVATIONS = st.builds(
    Observation,
    st.floats(-1, 100) | st.just(0.0),
    HOSTS,
    st.sampled_from([None, "eth0", "eth1", "eth2"]),
    st.sampled_from([None, "forward", "postrouting"]),
    st.sampled_from(Action),
    st.sampled_from(["request", "reply", "error"]),
    st.text(max_size=20),
    st.none() | st.just("10.0.43.15 → 10.0.44.63"),
    st.none() | st.text(max_size=20),
)
HALVES = st.builds(
    Half,
    st.sampled_from(
        ["delivered", "delivered-to-segment", "dropped", "lost-between", "not-sent", "undetermined"]
    ),
    st.none() | st.just("no-route"),
    st.text(max_size=20),
    ANYWHERE,
)
ANYTHING = st.builds(
    replace,
    st.just(diagnoses.REACHABLE),
    client=HOSTS,
    result=st.sampled_from(Result),
    forward=HALVES,
    reply=HALVES,
    also=st.lists(st.builds(Also, st.sampled_from(["forward", "reply"]), ANYWHERE, st.just("no-route"))).map(
        tuple
    ),
    observations=st.lists(OBSERVATIONS, max_size=12).map(tuple),
)


@settings(max_examples=150, deadline=None)
@given(ANYTHING)
def test_whatever_was_found_gives_a_page_and_one_path(found: Diagnosis) -> None:
    shown = read(found)
    assert shown.count("main") == 1
    path = hops(found)
    assert path[0].host == found.client
    assert path[-1].is_destination
    assert not any(hop.is_destination for hop in path[:-1])
    named = {one.host for one in found.observations}
    watched = [hop.host for hop in path if hop.is_seen]
    assert sorted(watched) == sorted(named)
    for hop in filter(lambda hop: hop.is_seen, path):
        told = {one.interface for one in found.observations if one.host == hop.host and one.interface}
        assert told <= {hop.near, hop.far, *hop.beside}
