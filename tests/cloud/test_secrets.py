"""What is shown of an answer that repeats what it was asked."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest

from crossnet.openstack.secrets import secrets_of, without

ENTRY = {
    "auth": {"username": "me", "password": 'pa"ß wört', "auth_url": "https://cloud.example:5000/v3"},
    "region_name": "east",
}


def test_which_parts_of_an_entry_are_secret() -> None:
    deeper = {"v3password": {"password": "inner"}, "v3totp": {"passcode": "123456"}}
    entry = {"auth": {**ENTRY["auth"], "application_credential_secret": "apps", **deeper}}  # type: ignore[dict-item]
    assert set(secrets_of(entry)) == {'pa"ß wört', "apps", "inner", "123456"}
    assert [*secrets_of({"auth_type": "token", "auth": {"token": "gAAAA"}})] == ["gAAAA"]


@pytest.mark.parametrize("form", [str, json.dumps, lambda text: json.dumps(text, ensure_ascii=False), quote])
def test_a_secret_is_found_as_it_is_written(form: object) -> None:
    (secret,) = secrets_of(ENTRY)
    said = f"you sent {form(secret)} as me".encode()  # type: ignore[operator]
    shown = without(said, [secret]).decode()
    assert "w" not in shown
    assert shown.startswith("you sent")
    assert shown.endswith("as me")


def test_what_is_in_every_other_word_is_not_sought() -> None:
    assert without(b"a port is not there", ["port", "a", ""]) == "a … is not there".encode()


def test_a_secret_of_which_json_escapes_each_letter_is_blotted_too() -> None:
    escaped = "".join(f"\\u{ord(sign):04x}" for sign in "s3cret-token")
    said = f'{{"NeutronError": {{"message": "tok {escaped}"}}}}'.encode()
    assert json.loads(without(said, ["s3cret-token"]))["NeutronError"]["message"] == "tok …"
