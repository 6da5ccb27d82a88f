"""The command line for people who came for the tool: select, tune and measure, as functions and as a command."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

import beft_lib
from beft_lib import commands_science as commands
from beft_lib import setup_env
from beft_lib.__main__ import main
from beft_lib.errors import AdapterError, BeftError, DataError, ModelError, TrainingError, UnknownName

TERMS = {"query", "key", "value"}


@pytest.fixture(scope="module")
def where(tmp_path_factory) -> list[str]:
    """The arguments that every verb needs: a tiny model, a small task, two epochs at a rate that moves something."""
    folder = tiny.save(tmp_path_factory.mktemp("bert"))
    data = tiny.write_task(tmp_path_factory.mktemp("task"))
    return ["--model", str(folder), "--task", "sst2", "--data", str(data), "--n-train", "48", "--epochs", "2",
            "--learning-rate", "1e-2"]  # fmt: skip


def run(verb: str, *arguments: str) -> int:
    parser = argparse.ArgumentParser()
    getattr(commands, f"add_{verb}")(parser)
    return getattr(commands, f"run_{verb}")(parser.parse_args(arguments))


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """The one line of JSON on stdout, and nothing else there: it is made for a pipe."""
    out = capsys.readouterr().out
    assert out.count("\n") == 1, out
    return json.loads(out)


def test_select_prints_three_scores_and_the_choice(where, capsys):
    assert run("select", *where) == 0
    out = capsys.readouterr().out
    words = [line.split() for line in out.splitlines() if line.strip()]
    scores = {first: float(rest[0]) for first, *rest in words if first in TERMS}
    assert set(scores) == TERMS and f"choice: {max(scores, key=scores.__getitem__)}" in out
    assert "48 training examples" in out and "6 steps in" in out and "by the method" in out


def test_tune_in_pieces_wants_several_processes(where):
    with pytest.raises(TrainingError, match="there is one"):
        run("tune", *where, "--fsdp")


def test_select_as_json_is_the_probe_s_own(where, capsys):
    assert run("select", *where, "--json", "--seed", "3") == 0
    found = told(capsys)
    task = beft_lib.load_task("sst2", where[5], n_train=48, seed=3)
    result = beft_lib.probe(beft_lib.load_model(where[1], task, seed=3), task, seed=3, epochs=2, learning_rate=1e-2)
    assert found["importance"] == dict(result.ranking()) and found["choice"] == result.best
    assert (found["task"], found["seed"], found["steps"], found["stopped"]) == ("sst2", 3, 6, "")
    assert all(0 <= score <= 2 for score in found["importance"].values()) and found["importance"][found["choice"]] > 0


def test_select_stopped_early_says_so(where, capsys, monkeypatch):
    import beft_lib.probing as probing

    class Stop(probing._Record):
        def on_step_end(self, args, state, control, **kwargs):
            super().on_step_end(args, state, control, **kwargs)
            if state.global_step == 2:
                raise KeyboardInterrupt

    monkeypatch.setattr(probing, "_Record", Stop)
    assert run("select", *where, "--json") == 0
    assert told(capsys)["stopped"] == "interrupted"
    assert run("select", *where) == 0
    assert "stopped early: interrupted" in capsys.readouterr().out


def test_tune_prints_metric_counts_seconds_and_memory_and_saves(where, capsys, tmp_path):
    saved = tmp_path / "adapter"
    assert run("tune", *where, "--method", "value", "--save", str(saved)) == 0
    out = capsys.readouterr().out
    for part in ("accuracy 0.", "64 by the method", "in the head", "6 steps in", "peak memory", " GB", str(saved)):
        assert part in out, (part, out)
    assert any(saved.glob("*.safetensors")) and any(saved.glob("*.json"))


@pytest.mark.parametrize("method", ["query", "head"])
def test_tune_as_json(method, where, capsys, tmp_path):
    saved = tmp_path / "adapter"
    assert run("tune", *where, "--method", method, "--json", "--save", str(saved)) == 0
    row = told(capsys)
    assert (row["method"], row["task"], row["metric"], row["steps"]) == (method, "sst2", "accuracy", 6)
    assert 0 <= row["score"] <= 1 and row["seconds"] > 0 and row["peak_memory"] > 1e6 and row["saved"] == str(saved)
    assert row["parameters_method"] == (0 if method == "head" else 2 * 32)  # two layers
    assert row["parameters_head"] == 32 + 2 * 32 + 2 and saved.is_dir()  # the pooler's bias and the classifier


@pytest.mark.parametrize("method", ["lora", "prefix"])
def test_what_peft_trained_is_saved_as_peft_does(method, where, capsys, tmp_path):
    saved = tmp_path / "adapter"
    assert run("tune", *where, "--method", method, "--save", str(saved), "--json") == 0
    assert told(capsys)["saved"] == str(saved)
    config = json.loads((saved / "adapter_config.json").read_text(encoding="utf-8"))
    assert config["peft_type"].startswith(method.upper()) and (saved / "adapter_model.safetensors").is_file()


@pytest.mark.parametrize("method", ["full", "full@top-half", "random_uniform"])
def test_what_no_adapter_holds_is_said_before_anything_is_loaded(method, where, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(commands, "_load", lambda args: pytest.fail("loaded"))
    with pytest.raises(AdapterError, match=rf"'{method}'.*own weights\. Leave --save out.*value, query") as error:
        run("tune", *where, "--method", method, "--save", str(tmp_path / "adapter"))
    assert "full," not in str(error.value).split("choose one of")[1] and capsys.readouterr().out == ""


def test_a_folder_that_saving_would_not_replace_is_said_before_anything_is_loaded(where, tmp_path, monkeypatch):
    (tmp_path / "thesis.txt").write_text("years of work", encoding="utf-8")
    monkeypatch.setattr(commands, "_load", lambda args: pytest.fail("loaded"))
    with pytest.raises(AdapterError, match=r"thesis\.txt.*Choose another folder"):
        run("tune", *where, "--save", str(tmp_path))


@pytest.mark.parametrize(("save", "resume"), [("one", "one"), ("one", "one/checkpoints"), ("one/adapter", "one")])
def test_checkpoints_where_saving_would_delete_them_are_refused_at_once(save, resume, where, tmp_path, monkeypatch):
    monkeypatch.setattr(commands, "_load", lambda args: pytest.fail("loaded"))
    with pytest.raises(AdapterError, match=r"would delete the checkpoints.*folder of its own"):
        run("tune", *where, "--save", str(tmp_path / save), "--resume", str(tmp_path / resume))


@pytest.mark.parametrize("as_json", [False, True])
def test_a_save_that_fails_loses_no_result(as_json, where, capsys, tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("beft_lib.adapters.save_adapter", full)
    with pytest.raises(OSError, match="No space left"):
        run("tune", *where, "--save", str(tmp_path / "adapter"), *(["--json"] if as_json else []))
    if as_json:
        row = told(capsys)
        assert row["saved"] is None and 0 <= row["score"] <= 1
    else:
        out = capsys.readouterr().out
        assert "accuracy 0." in out and "6 steps in" in out and "saved in" not in out


@pytest.fixture(scope="module")
def bare(where, tmp_path_factory) -> list[str]:
    """The same with a model that has no q, k and v biases."""
    from transformers import AutoModel

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("bare")
    AutoModel.from_config(tiny.config("llama", attention_bias=False)).save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    return ["--model", str(folder), *where[2:]]


@pytest.mark.parametrize("verb", ["select", "tune", "measure"])
def test_a_model_without_biases_gets_some_by_a_flag(verb, bare, capsys, tmp_path):
    line = [verb, *bare, "--json"]
    if verb == "measure":
        line = [verb, *bare[:2], "--tasks", "sst2", "--methods", "value", "--data", bare[5], "--n-train", "32",
                "--epochs", "1", "--out", str(tmp_path / "results.json")]  # fmt: skip
    with pytest.raises(ModelError, match=r"has no \w+ bias .*Run it again with --add-biases: it adds a bias of zero"):
        run(*line)
    capsys.readouterr()
    assert run(*line, "--add-biases") == 0
    out = capsys.readouterr().out
    assert "value" in out
    if verb == "select":  # from zero importance is 1 after any move
        assert json.loads(out)["choice"] == max(json.loads(out)["magnitude"].items(), key=lambda row: row[1])[0]


def test_tune_without_save_saves_nothing(where, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("tune", *where, "--json") == 0
    assert told(capsys)["saved"] is None and list(tmp_path.iterdir()) == []


def test_tune_goes_on_from_its_folder(where, capsys, tmp_path):
    rows = []
    for _ in range(2):
        assert run("tune", *where, "--json", "--resume", str(tmp_path / "run")) == 0
        rows.append(told(capsys))
    assert rows[0]["score"] == rows[1]["score"] and rows[0]["steps"] == rows[1]["steps"] == 6
    assert list((tmp_path / "run").glob("checkpoint-*"))


def test_measure_fills_a_file_and_prints_its_table(where, capsys, tmp_path):
    out = tmp_path / "results.json"
    arguments = ["--model", where[1], "--tasks", "sst2", "--methods", "value", "all_biases", "--seeds", "0", "1",
                 "--data", where[5], "--n-train", "32", "--epochs", "1", "--out", str(out)]  # fmt: skip
    assert run("measure", *arguments) == 0
    printed = capsys.readouterr().out
    assert len(json.loads(out.read_text(encoding="utf-8"))["rows"]) == 4
    assert printed.count(" seed ") == 6 and printed.count("importance query") == 2  # 4 runs and 2 lines of scores
    assert "nan" not in printed and "±" in printed
    assert run("measure", *arguments) == 0
    again = capsys.readouterr().out
    assert len(json.loads(out.read_text(encoding="utf-8"))["rows"]) == 4
    assert again.count(" seed ") == 2 and printed.endswith(again)  # nothing was run again; the table is the same


def test_measure_chooses_a_rate_on_held_out_train(where, capsys, tmp_path):
    out = tmp_path / "results.json"
    arguments = ["--model", where[1], "--tasks", "sst2", "--methods", "head", "--data", where[5], "--n-train", "32",
                 "--epochs", "1", "--rates", "1e-3", "1e-2", "--out", str(out)]  # fmt: skip
    assert run("measure", *arguments) == 0
    rows = json.loads(out.read_text(encoding="utf-8"))["rows"]
    tried, last = [row for row in rows if row["scored_on"] != "validation"], rows[-1]
    assert [row["changes"]["learning_rate"] for row in tried] == [1e-3, 1e-2] and {row["n_train"] for row in tried} == {
        24
    }
    best = max(tried, key=lambda row: row["score"])
    assert last["scored_on"] == "validation" and last["changes"]["learning_rate"] == best["changes"]["learning_rate"]


def test_measure_in_shards(where, capsys, tmp_path):
    out = tmp_path / "results.json"
    arguments = ["--model", where[1], "--tasks", "sst2", "--methods", "value", "head", "--data", where[5], "--n-train",
                 "32", "--epochs", "1", "--out", str(out), "--shard"]  # fmt: skip
    for shard, method in (("1/3", "value"), ("2/3", "head"), ("3/3", None)):
        assert run("measure", *arguments, shard) == 0
        printed = capsys.readouterr().out
        assert (f"sst2 {method} seed 0" in printed) if method else printed == ""
    assert run("measure", *arguments[:-1]) == 0  # the whole grid: nothing left to run, one table
    printed = capsys.readouterr().out
    assert " seed 0:" not in printed and "value" in printed and "head" in printed
    with pytest.raises(DataError, match="shard is '4/3'"):
        run("measure", *arguments, "4/3")


@pytest.mark.parametrize("method", ["query+value", "value@top-half", "lora", "random_uniform"])
def test_tune_takes_every_way_to_say_a_method(method, where, capsys):
    assert run("tune", *where, "--method", method, "--json") == 0
    row = told(capsys)
    assert row["method"] == method and row["file_bytes"] > 4 * (row["parameters_method"] + row["parameters_head"])


def test_tune_with_frozen_layers_kept(where, capsys):
    for flag, kept in (("--reuse", 1), ("--no-reuse", 0)):
        assert run("tune", *where, "--method", "value@top-half", flag, "--json") == 0
        assert told(capsys)["kept_layers"] == kept


@pytest.mark.parametrize(
    "change, error, says",
    [
        ({"--task": "sst"}, UnknownName, "task 'sst'"),
        ({"--data": "nowhere"}, DataError, "No data for sst2 at nowhere"),
        ({"--n-train": "49"}, DataError, "49 asked for, 48 there"),
        ({"--model": "no/such/model/here"}, (ModelError, UnknownName), "no/such/model/here"),
        ({"--method": "values"}, UnknownName, "method 'values'"),
        ({"--learning-rate": "0"}, BeftError, "learning_rate is 0"),
    ],
)
def test_mistakes_are_errors_of_ours(change, error, says, where, capsys):
    arguments = {**dict(zip(where[::2], where[1::2], strict=True)), **change}
    with pytest.raises(error, match=says):
        run("tune", "--json", *[part for pair in arguments.items() for part in pair])
    assert capsys.readouterr().out == ""  # nothing that a pipe would take for a result


@pytest.mark.parametrize("verb, part", [("select", ("--task",)), ("tune", ("--task",)), ("measure", ("--out",))])
def test_what_is_required(verb, part, capsys):
    with pytest.raises(SystemExit) as stopped:
        run(verb)
    assert stopped.value.code == 2 and all(name in capsys.readouterr().err for name in part)


def test_as_a_command(where, tmp_path):
    """``python -m beft_lib select`` from a copy of the package alone, as installed: no checkout, nothing is set up."""
    package = Path(beft_lib.__file__).parent
    shutil.copytree(package, tmp_path / "beft_lib", ignore=shutil.ignore_patterns("pocket", "__pycache__"))
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "BEFT_DEBUG": ""}

    line = [sys.executable, "-m", "beft_lib", "select", *where, "--json"]
    done = subprocess.run(
        line, env=environment, cwd=tmp_path, capture_output=True, text=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)["importance"]) == TERMS and done.stdout.count("\n") == 1


@pytest.mark.parametrize("verb", ["select", "tune"])
def test_a_mistake_at_the_command_line_is_one_message(verb, where, capsys, monkeypatch):
    monkeypatch.setattr(setup_env, "use", lambda *_, **__: None)
    monkeypatch.delenv("BEFT_DEBUG", raising=False)
    wrong = [verb, *where[:2], "--task", "sst", "--json"]
    assert main(wrong) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: Unknown task 'sst'. Did you mean 'sst2'?") and err.count("\n") == 1
    monkeypatch.setenv("BEFT_DEBUG", "1")
    with pytest.raises(UnknownName):
        main(wrong)
