"""What somebody without any right on a gateway can do to crossnet there: nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from crossnet.lab.build import Lab
from lab.crossing import Bench

pytestmark = pytest.mark.lab

AS_ANYBODY = "setpriv --reuid 65534 --regid 65534 --clear-groups"


@pytest.mark.parametrize(
    ("called", "word"),
    [
        ("cp /bin/sleep /tmp/named/firewalld && chmod 755 /tmp/named/firewalld", "300"),
        # A program of root's, which is root's own process while it asks for a password.
        ("ln -s $(command -v su) /tmp/named/firewalld", "root"),
    ],
)
def test_a_process_called_firewalld_is_none(lab_up: Callable[..., Lab], called: str, word: str) -> None:
    b = Bench(lab_up("seed"))
    spec = b.spec("to: 10.0.44.1")
    if not b.run("gateway", f"{AS_ANYBODY} true").ok:
        pytest.skip("this lab has one user")
    b.check("gateway", f"mkdir -p /tmp/named && chmod 755 /tmp/named && {called}")
    b.check(
        "gateway",
        f"(sleep 300 | {AS_ANYBODY} /tmp/named/firewalld {word}) >/dev/null 2>&1 & "
        "until grep -lx firewalld /proc/[0-9]*/comm; do sleep 0.1; done",
    )
    b.apply(spec)
    assert b.plan(spec).is_empty
    b.undo(spec)
