"""The command that lists every family with what was verified."""

from __future__ import annotations

import json

import pytest

from beft_lib import __main__ as command_line
from beft_lib import families, verify
from beft_lib.architectures import FAMILIES
from beft_lib.errors import ModelError


@pytest.fixture(autouse=True)
def here(monkeypatch):
    monkeypatch.setattr(command_line.setup_env, "use", lambda *args, **options: None)


def test_a_row_each_with_what_holds(capsys):
    assert command_line.main(["families", "bert", "phi", "phi3", "llama"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split()[0]: " ".join(line.split()) for line in lines[1:5]}
    total = f"{len(verify.CHECKS)}/{len(verify.CHECKS)}"
    assert rows == {
        "bert": f"bert separate qkvo absolute dead no yes PEFT's {total}",
        "phi": f"phi separate qkvo partial rotary part alive yes yes PEFT's {total}",
        "phi3": f"phi3 concatenated none partial rotary part alive yes no ours {total}",
        "llama": f"llama separate none rotary alive yes with attention_bias PEFT's {total}",
    }


def test_json_and_unknown_names(capsys):
    assert command_line.main(["families", "gpt2", "--json"]) == 0
    (row,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert row["model_type"] == "gpt2" and row["layout"] == "concatenated" and row["failed"] == {}
    assert command_line.main(["families", "gpt3"]) == 2
    assert "gpt2" in capsys.readouterr().err


def test_a_failed_check_is_shown_and_counts(monkeypatch, capsys):
    def check(model, inputs):
        """Never."""
        raise ModelError("not so")

    monkeypatch.setattr(verify, "CHECKS", {"never": check})
    assert command_line.main(["families", "bert"]) == 1
    told = capsys.readouterr().out
    assert "0/1" in told and "FAILED bert, never: not so" in told


def test_every_family_is_there():
    parser = __import__("argparse").ArgumentParser()
    families.add_arguments(parser)
    assert parser.parse_args([]).names == [] and set(FAMILIES) >= {"bert", "gpt2", "gpt_neox", "t5", "whisper"}
