"""Building notebooks from a source: two versions that never drift, always the same cells, nothing left of the run."""

from __future__ import annotations

from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("jupytext")
pytest.importorskip("nbclient")

from beft_lib import authoring  # noqa: E402
from beft_lib.errors import BeftError, UnknownName  # noqa: E402
from beft_lib.lesson import first_cell  # noqa: E402

SOURCE = """\
# %% [markdown]
# # A title
#
# Überall Umlaute, and a formula $x^2$.

# %%
this_is_replaced = True

# %% tags=["nbval-check-output"]
print("six", 2 * 3)

# %% tags=["stub"]
answer = ...

# %% tags=["solution"]
answer = 42

# %%
answer

# %%
answer
"""


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lesson whose first cell is quick: what it calls is tested elsewhere."""
    monkeypatch.setattr("beft_lib.lesson.first_cell", lambda number: f"lesson = {number!r}")
    path = tmp_path / "source" / "77_a_lesson.py"
    path.parent.mkdir()
    path.write_text(SOURCE, encoding="utf-8")
    return path


def code(notebook: object) -> list[str]:
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]  # type: ignore[attr-defined]


def test_each_version_has_its_own_cells_and_all_the_others(source: Path) -> None:
    student, solutions = (authoring.build(source, version) for version in authoring.VERSIONS)
    assert "answer = ..." in code(student) and "answer = 42" not in code(student)
    assert "answer = 42" in code(solutions) and "answer = ..." not in code(solutions)
    shared = [c.source for c in student.cells if c.source != "answer = ..." and not c.id.endswith("-header")]
    others = [c.source for c in solutions.cells if c.source != "answer = 42" and not c.id.endswith("-header")]
    assert shared == others and len(shared) == len(student.cells) - 2
    assert student.cells[0].source.startswith("# A title") and "Überall" in student.cells[0].source
    nbformat.validate(student)


def test_the_first_code_cell_is_everyones(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert code(authoring.build(source, "student"))[0] == first_cell("77")


@pytest.mark.parametrize("repository", ["", "ada/beft-course"])
def test_above_the_first_code_stand_the_glossary_and_the_badge(
    repository: str, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("beft_lib.lesson.REPOSITORY", repository)
    for version, inside, up in (("student", "", ""), ("solutions", "solutions/", "../")):
        cells = authoring.build(source, version).cells
        at = next(i for i, cell in enumerate(cells) if cell.cell_type == "code")
        assert cells[at - 1].id == "l77-header" and f"]({up}GLOSSARY.md)" in cells[at - 1].source
        badge = f"/github/{repository}/blob/main/notebooks/{inside}77_a_lesson.ipynb)"
        assert (badge in cells[at - 1].source) == bool(repository)


def test_building_twice_gives_the_same_file(source: Path) -> None:
    path = authoring.author(source, "student", execute=False).path
    first = path.read_bytes()
    authoring.author(source, "student", execute=False)
    assert path.read_bytes() == first
    ids = [cell.id for cell in nbformat.read(path, as_version=4).cells]
    assert len(set(ids)) == len(ids)


def test_executed_outputs_stay_while_only_prose_changes(source: Path) -> None:
    built = authoring.author(source, "solutions", execute=True)
    assert built.executed and not built.notes
    cells = [c for c in nbformat.read(built.path, as_version=4).cells if c.cell_type == "code"]
    assert [c.execution_count for c in cells] == [1, 2, 3, 4, 5]
    assert cells[1].outputs[0].text == "six 6\n" and cells[1].metadata == {"tags": ["nbval-check-output"]}
    assert cells[3].outputs[0].data["text/plain"] == "42"

    source.write_text(SOURCE.replace("A title", "Another title"), encoding="utf-8")
    assert not authoring.author(source, "solutions", execute=False).notes
    kept = nbformat.read(built.path, as_version=4)
    assert "Another" in kept.cells[0].source
    assert [c.outputs for c in kept.cells if c.cell_type == "code"] == [c.outputs for c in cells]

    with pytest.MonkeyPatch.context() as patch:  # the first cell installs from elsewhere: nothing that it says changes
        patch.setattr("beft_lib.lesson.first_cell", lambda number: f"lesson = {number!r}  # from elsewhere")
        assert not authoring.author(source, "solutions", execute=False).notes
        moved = [c for c in nbformat.read(built.path, as_version=4).cells if c.cell_type == "code"]
    assert "elsewhere" in moved[0].source and [c.outputs for c in moved] == [c.outputs for c in cells]

    source.write_text(SOURCE.replace("2 * 3", "3 * 3"), encoding="utf-8")
    assert "--execute" in str(authoring.author(source, "solutions", execute=False))
    stale = nbformat.read(built.path, as_version=4)
    assert not any(c.get("outputs") for c in stale.cells)


def test_a_cell_that_fails_leaves_the_old_notebook(source: Path) -> None:
    path = authoring.author(source, "student", execute=False).path
    before = path.read_bytes()
    source.write_text(SOURCE.replace("2 * 3", "2 / 0"), encoding="utf-8")
    with pytest.raises(BeftError, match="ZeroDivisionError"):
        authoring.author(source, "student", execute=True)
    assert path.read_bytes() == before


def test_what_is_not_the_lessons_is_taken_out() -> None:
    view = {authoring.WIDGET_VIEW: {"model_id": "x"}, "text/plain": "HBox()"}
    picture = {**view, "image/png": "aaaa"}
    v4 = nbformat.v4
    outputs = [
        v4.new_output("stream", name="stdout", text="before\n"),
        v4.new_output("stream", name="stderr", text="a warning"),
        v4.new_output("stream", name="stdout", text="\r 10%|#   |\r 90%|### |\r          \rafter\n"),
        v4.new_output("display_data", data=view),
        v4.new_output("display_data", data=picture),
    ]
    bar = v4.new_output("stream", name="stdout", text="\r 10%\r 50%\r     \r")
    cells = [
        v4.new_code_cell("1", outputs=outputs, metadata={"tags": ["x"], "execution": {"started": "now"}}),
        v4.new_code_cell("2", outputs=[bar]),
    ]
    language = {"name": "python", "version": "3.11"}
    notebook = v4.new_notebook(cells=cells, metadata={"widgets": {"state": {}}, "language_info": language})
    notes = authoring.clean(notebook)
    assert len(notes) == 1 and "a warning" in notes[0] and "cell 1" in notes[0]
    first, second = notebook.cells
    assert [o.output_type for o in first.outputs] == ["stream", "display_data"]
    assert first.outputs[0].text == "before\nafter\n"
    assert set(first.outputs[1].data) == {"image/png", "text/plain"}
    assert first.metadata == {"tags": ["x"]} and second.outputs == []
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert notebook.metadata.language_info == {"name": "python"}


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("plain\nlines\n", "plain\nlines\n"),
        ("\r  50%\r     \r", ""),
        ("\rlong text\rshort", "shorttext"),
        ("  indented\n\nkept\n", "  indented\n\nkept\n"),
        ("a\r\nb\n", "a\nb\n"),
    ],
)
def test_settled(text: str, left: str) -> None:
    assert authoring.settled(text) == left


def test_an_unknown_lesson_is_named() -> None:
    with pytest.raises(UnknownName, match="'98'"):
        list(authoring._chosen(["98"]))
