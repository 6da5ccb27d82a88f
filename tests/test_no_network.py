"""The course with the network cut off: every socket is refused, and nothing even asks for one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import beft_lib
from beft_lib.errors import ModelError
from beft_lib.places import lessons_folder

# In the child, before anything of ours. An audit hook sees every connection and every look-up of a name, whichever
# function they come from, and cannot be taken out again.
GUARD = """
import socket, sys
tried = []
def refuse(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"):
        if event == "socket.connect" and arguments[0].family == getattr(socket, "AF_UNIX", None):
            return
        tried.append([event, repr(arguments[1:])])
        raise ConnectionRefusedError(f"the network is cut off: {event}")
sys.addaudithook(refuse)
"""
PATH = """
import json, sys, tempfile
from beft_lib import (fine_tune, load_adapter, load_model, load_task, load_tokenizer, probe, save_adapter, start)
profile = start("00").choice.profile.name
task = load_task("sst2", n_train=32, n_validation=16)
model = load_model("bert", task)
seen = probe(model, task, max_steps=2, progress=False)
run = fine_tune(model, task, seen.best, max_steps=2, progress=False)
with tempfile.TemporaryDirectory() as folder:
    save_adapter(run, folder)
    load_adapter(load_model("bert", task, seed=1), folder)
asked = load_task("squad", n_train=8, n_validation=4)
writer = load_model("opt", asked)
spoken = [fine_tune(writer, asked, method, progress=False, max_steps=1).score for method in ("zero_shot", "value")]
print(json.dumps({"profile": profile, "best": seen.best, "steps": run.steps, "spoken": spoken, "tried": tried}))
"""
LESSON = """
import json
from pathlib import Path
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
every = json.loads(Path({path!r}).read_text(encoding="utf-8"))["cells"]
cells = [cell for cell in every if cell["cell_type"] == "code"]
for cell in cells:
    shell.run_cell("".join(cell["source"])).raise_error()
import beft_lib.runtime as runtime
print()
print(json.dumps({{"profile": runtime.choose_profile().profile.name, "cells": len(cells), "tried": tried}}))
"""
BITES = """
import contextlib, json, urllib.request
def stopped(call):
    try:
        call()
    except OSError as error:
        return "cut off" in str(error)
    return False
calls = [
    lambda: socket.create_connection(("127.0.0.1", 9), 1),
    lambda: socket.socket().connect(("127.0.0.1", 9)),
    lambda: socket.getaddrinfo("huggingface.co", 443),
    lambda: urllib.request.urlopen("http://127.0.0.1:9/", timeout=1),
]
import beft_lib.places as places
answers = places.hub_answers()
print(json.dumps({"stopped": [stopped(call) for call in calls], "answers": answers, "tried": tried}))
"""


def cut_off(code: str, home: Path) -> dict[str, Any]:
    """Run code in a new Python behind the guard, with nothing that says "offline"; what its last line prints."""
    offline = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE")
    environment = {name: value for name, value in os.environ.items() if name not in offline}
    environment |= {
        "BEFT_PROFILE": "pocket",
        "BEFT_HOME": str(home),
        "MPLBACKEND": "agg",
        "PYTHONPATH": str(Path(beft_lib.__file__).parents[1]),
    }
    command = [sys.executable, "-c", GUARD + code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_guard_bites(tmp_path: Path) -> None:
    found = cut_off(BITES, tmp_path)
    assert found["stopped"] == [True] * 4
    assert found["answers"] is False and len(found["tried"]) > 4  # asking whether the hub answers is refused as well


def test_the_course_runs_with_the_network_cut_off(tmp_path: Path, pocket_models: Path) -> None:
    found = cut_off(PATH, tmp_path)
    assert found["profile"] == "pocket" and found["best"] in ("query", "key", "value") and found["steps"] == 2
    assert all(0 <= score <= 1 for score in found["spoken"])
    assert found["tried"] == [], "nothing needs the network, so nothing should ask for it"


@pytest.mark.parametrize("number", ["00", "05", "06"])
def test_a_whole_lesson_runs_with_the_network_cut_off(number: str, tmp_path: Path, pocket_models: Path) -> None:
    """Every cell to its end, solutions filled in: an encoder's lesson, a decoder's, and the one that is opened first.

    Two questions to the hub are part of them, and may go unanswered: lesson 00 shows whether it answers, and in lesson
    05 PEFT, storing an adapter of its own, looks for its base there.
    """
    (path,) = (lessons_folder() / "solutions").glob(f"{number}_*.ipynb")
    found = cut_off(LESSON.format(path=str(path)), tmp_path)
    assert found["profile"] == "pocket" and found["cells"] > 10
    assert len(found["tried"]) == {"00": 1, "05": 1, "06": 0}[number], found["tried"]


@pytest.mark.parametrize("name", ["pocket-bert", "pocket-opt"])
def test_without_the_shipped_models_the_way_out_is_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = beft_lib.load_task("sst2", data="pocket")
    monkeypatch.setattr("beft_lib.runtime.data_folder", lambda: tmp_path)
    with pytest.raises(ModelError, match="pocket build"):
        beft_lib.load_model(name, task)
