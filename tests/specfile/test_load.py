"""A spec is read from a file, and what keeps it from being read is told like every other mistake."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from crossnet import specfile
from crossnet.errors import Problem, SpecError

SEED = Path(__file__).parent / "cases/good/seed.yaml"


def refusal(path: Path | str) -> Problem:
    with pytest.raises(SpecError) as refused:
        specfile.load(path)
    (problem,) = refused.value.problems
    assert problem.file == str(path)
    return problem


@pytest.mark.parametrize("path", [SEED, str(SEED)], ids=["Path", "str"])
def test_load(path: Path | str) -> None:
    spec = specfile.load(path)
    assert spec.file == str(SEED)
    assert spec.source == SEED.read_text()
    assert [host.name for host in spec.hosts] == ["app", "gateway"]


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("crossnet.yaml", "crossnet"),
        ("specs/business.yaml", "business"),
        ("/srv/business.v2.yml", "business.v2"),
        ("business", "business"),
        ("/dev/shm/business.yaml", "business"),
        ("/dev/fd/63", "crossnet"),
        ("/dev/stdin", "crossnet"),
        ("/proc/self/fd/0", "crossnet"),
        ("", "crossnet"),
    ],
)
def test_the_name_of_the_file_is_that_of_the_spec(file: str, name: str) -> None:
    assert specfile.parse(SEED.read_text(), file).name == name


@pytest.mark.parametrize("file", ["the business.yaml", "业务.yaml", ".yaml", "-f", 41 * "b"])
def test_a_file_whose_name_is_none_of_a_spec(file: str) -> None:
    with pytest.raises(SpecError, match=r":1:1: a spec is named after its file, and '.*' cannot be a name"):
        specfile.parse(SEED.read_text(), file)
    assert specfile.parse(SEED.read_text() + "name: business\n", file).name == "business"


def test_missing(tmp_path: Path) -> None:
    problem = refusal(tmp_path / "crossnet.yaml")
    assert (problem.line, problem.column) == (0, 0)
    assert problem.message == "there is no such file: `crossnet init` writes one, `-f FILE` names another"


def test_folder(tmp_path: Path) -> None:
    assert refusal(tmp_path).message == "this is a folder: name the spec file in it with `-f FILE`"


def test_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "cannot be read: Not a directory" in refusal(tmp_path / "file" / "crossnet.yaml").message


def test_no_file_name() -> None:
    assert refusal("crossnet\0.yaml").message.startswith("this cannot be the name of a file")


def test_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "crossnet.yaml"
    path.write_bytes("crossnet: 1\nhosts: {é: {lab: b\u00fccher}}\n".encode("latin-1"))
    assert str(refusal(path)) == f"{path}:2:9: byte 0xe9 is not UTF-8: save the file as UTF-8"


@pytest.mark.parametrize(
    "spec",
    [
        "crossnet: 1\nhosts: {gateway: 'SECRET'}\n",
        "crossnet: 1\nhosts: {gateway: {netns: 'SECRET', ssh: ['SECRET'], become: 'SECRET'}}\n",
        "crossnet: 1\nhosts: {gateway: {lab: 'SECRET', 'SECRET': 1}, 'SECRET': {ssh: h}, 'SECRET': 'SECRET'}\n",
        "crossnet: 1\nhosts: {g: {ssh: g}}\ncrossings: {c: {from: ['SECRET'], via: 'SECRET', to: 'SECRET'}}\n",
        "crossnet: 1\nhosts: {g: {ssh: g}}\ncrossings: {c: {from: 'SECRET', to: ['SECRET'], fence: 'SECRET', "
        "translate: {snat: 'SECRET'}, ingress: 'SECRET', next-hop: 'SECRET', allow: ['SECRET'], "
        "probe: 'SECRET'}, 'SECRET': {}}\n",
        "crossnet: 'SECRET'\nhosts: 'SECRET'\ncrossings: ['SECRET']\n'SECRET': 'SECRET'\n",
        "'SECRET'",
        "crossnet: 1\nhosts: {gateway: {ssh: 'SECRET\n",
        "crossnet: 1\nhosts: {gateway: {ssh: *SECRET }}\n",
    ],
)
@pytest.mark.parametrize(
    "secret",
    [
        "ssh://root:hunter2@h",
        "root:hunter2@h",
        "ssh://root%3Ahunter2@h",
        "root:hunter2 hunter2" + 40 * "x" + "@h",
    ],
)
def test_a_password_is_not_repeated_wherever_it_stands(spec: str, secret: str) -> None:
    with pytest.raises(SpecError) as refused:
        specfile.parse(spec.replace("SECRET", secret), "crossnet.yaml")
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "secret", ["ssh://root:hunter2@h", "root:hunter2@h/c.yaml", "ssh://root%3Ahunter2@h:22"]
)
def test_a_password_in_the_name_of_a_file_is_not_repeated(secret: str) -> None:
    with pytest.raises(SpecError) as refused:
        specfile.load(secret)
    assert "hunter2" not in f"{refused.value}{refused.value.problems}"
    assert "there is no such file" in str(refused.value)


def test_the_slow_imports_stay_behind_specfile() -> None:
    """`crossnet --help` must not wait for pydantic: nothing that the command line always needs imports it."""
    program = (
        "import sys, crossnet.spec, crossnet.errors; print({'pydantic', 'ruamel.yaml'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
