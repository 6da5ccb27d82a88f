"""One command says where the course lives, and every lesson gets its badge; said again, nothing changes."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

pytest.importorskip("jupytext")
pytest.importorskip("nbclient")

from beft_lib import authoring, badges, lesson
from beft_lib.errors import BeftError

SOURCE = "# %% [markdown]\n# # A title\n\n# %%\nbeft_lib.start('77')\n\n# %%\n1 + 1\n"
FILE = 'before = 1\nREPOSITORY = ""\nafter = 2\n'


@pytest.mark.parametrize("repo", ["ada/beft", "a-b/c.d_e-f", "A" * 39 + "/x", ""])
def test_a_name_is_written_into_its_line_and_no_other(repo: str, tmp_path: Path) -> None:
    file = tmp_path / "lesson.py"
    file.write_text(FILE, encoding="utf-8")
    for _ in range(2):
        badges.record(repo, file)
        assert file.read_text(encoding="utf-8") == FILE.replace('""', f'"{repo}"')


@pytest.mark.parametrize(
    "repo", ["ada", "ada/", "/beft", "ada/beft/x", "ada/be ft", "-ada/beft", "ada/..", 'ada/b"', "A" * 40 + "/x"]
)
def test_what_is_no_name_is_refused_and_nothing_written(repo: str, tmp_path: Path) -> None:
    file = tmp_path / "lesson.py"
    file.write_text(FILE, encoding="utf-8")
    with pytest.raises(BeftError, match="OWNER/NAME"):
        badges.record(repo, file)
    assert file.read_text(encoding="utf-8") == FILE


@pytest.mark.parametrize("address", ["https://github.com/ada/beft", "git@github.com:ada/beft.git"])
def test_an_address_is_told_the_name_in_it(address: str, tmp_path: Path) -> None:
    with pytest.raises(BeftError, match=r"Did you mean ada/beft\?"):
        badges.record(address, tmp_path / "lesson.py")


def test_the_verb_stamps_both_versions_and_keeps_outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "notebooks" / "source" / "77_a_lesson.py"
    source.parent.mkdir(parents=True)
    source.write_text(SOURCE, encoding="utf-8")
    copy = tmp_path / "lesson.py"
    copy.write_text(Path(lesson.__file__).read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(authoring, "sources", lambda: {"77": source})
    monkeypatch.setattr(badges, "checkout", lambda: tmp_path)
    monkeypatch.setattr(lesson, "__file__", str(copy))

    def reload(module: object) -> None:
        space: dict[str, object] = {}
        text = next(line for line in copy.read_text(encoding="utf-8").splitlines() if line.startswith("REPOSITORY"))
        exec(text, space)
        monkeypatch.setattr(lesson, "REPOSITORY", space["REPOSITORY"])

    monkeypatch.setattr(badges, "reload", reload)
    student = authoring.target(source, "student")
    authoring.author(source, "student", execute=False)
    notebook = json.loads(student.read_text(encoding="utf-8"))
    notebook["cells"][-1]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": ["2"]}]
    student.write_text(json.dumps(notebook), encoding="utf-8")

    written = []
    for repo in ("ada/beft", "ada/beft", ""):
        assert badges.run(argparse.Namespace(repo=repo)) == 0
        written.append(student.read_text(encoding="utf-8"))
    assert written[0] == written[1]
    assert written[0].count("ada/beft/blob/main/notebooks/77_a_lesson.ipynb") == 1 and '"2"' in written[0]
    assert "colab-badge" not in written[2] and '"2"' in written[2]
    solved = authoring.target(source, "solutions")
    assert "GLOSSARY.md" in solved.read_text(encoding="utf-8")


def test_an_installed_package_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(badges, "checkout", lambda: None)
    with pytest.raises(BeftError, match="clone it"):
        badges.run(argparse.Namespace(repo="ada/beft"))
