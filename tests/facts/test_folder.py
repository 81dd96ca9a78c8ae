"""Whose crossnet's folder on a host may be, as somebody finds it who is not root there."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from crossnet.errors import HostError
from crossnet.facts.folder import folder_question
from crossnet.facts.question import Unanswered
from crossnet.transport.batch import Answer
from lacking import lacking


def test_who_is_not_root_is_told_that_root_is_needed() -> None:
    if os.geteuid() != 0:
        lacking("only root can take the place of another user")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "crossnet"
        folder.mkdir(mode=0o700)
        Path(name).chmod(0o755)
        question = folder_question("/var/lib/crossnet", str(folder))

        def ask(user: int) -> None:
            ran = subprocess.run(
                question.argv, capture_output=True, user=user, group=user, extra_groups=[], timeout=30
            )
            answer = Answer(ran.returncode, ran.stdout, ran.stderr)
            if ran.returncode and question.failed is not None:
                question.failed(answer)

        ask(0)
        with pytest.raises(Unanswered) as refused:
            ask(65534)
        assert refused.value.seen == f"{folder} is only for root"
        assert "`become: sudo`" in refused.value.todo
        os.chown(folder, 1234, 1234)
        with pytest.raises(Unanswered) as refused:
            ask(65534)
        assert refused.value.seen == f"{folder} belongs to user 1234"
        assert "become" not in refused.value.todo


@pytest.mark.parametrize("there", ["dangling", "link", "file", "folder", ""])
def test_what_stands_in_place_of_a_transaction_is_told(tmp_path: Path, there: str) -> None:
    """A link to nowhere passed for no transaction, until one was to begin."""
    folder = tmp_path / "crossnet"
    folder.mkdir(mode=0o700)
    place = folder / "transaction"
    match there:
        case "dangling":
            place.symlink_to("/nowhere")
        case "link":
            place.symlink_to(tmp_path)
        case "file":
            place.touch()
        case "folder":
            place.mkdir()
    question = folder_question("/var/lib/crossnet", str(folder), of_transactions=True)
    ran = subprocess.run(question.argv, capture_output=True, timeout=30, check=False)
    if there in ("folder", ""):
        assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"", b"")
        return
    what = "no folder" if there == "file" else "a symbolic link"
    with pytest.raises(HostError, match=f"looked who owns /var/lib/crossnet: {place} is {what}") as told:
        question.meaning("gateway", Answer(ran.returncode, ran.stdout, ran.stderr))
    # A link to nowhere has no owner to change, and a file with the mode of a folder is none.
    assert str(told.value).endswith(
        "ove it away: crossnet makes a folder there." if there == "file" else "ove it away."
    )
    assert "chown" not in str(told.value)
    if there == "link":
        # Somebody may have moved the folder to a larger disk; moved away, the record of the host is lost.
        assert "If it leads to crossnet's own folder, put that folder in its place" in str(told.value)
