"""The benchmark compares like with like: same batches, same arithmetic. (How fast is no test's business.)"""

import pytest
import tiny
import torch

from beft_lib import bench, load_model, load_task
from beft_lib.methods import METHODS, recipe_for
from beft_lib.models import load_tokenizer
from beft_lib.probing import probe as bench_probe


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    task = load_task("sst2", tiny.write_task(tmp_path_factory.mktemp("task")), n_train=48)
    folder = tiny.save(tmp_path_factory.mktemp("bert"))
    return task, folder, load_model(folder, task, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)


@pytest.mark.parametrize("method", ["value", "full"])
def test_both_loops_take_the_same_steps_to_the_same_place(method, parts):
    task, _, model = parts
    batches = bench.batches_of(task, load_tokenizer(model), recipe_for(task, METHODS[method]), 4)
    reached = []
    for loop in (bench.bare_loop, bench.our_loop):
        assert len(loop(model, task, method, batches)) == 4
        with torch.no_grad():
            reached.append(model(**batches[0]).logits)
    assert torch.allclose(*reached, atol=1e-5)


def test_padding_is_what_the_recipe_says(parts):
    task, _, model = parts
    recipe = recipe_for(task, METHODS["value"])
    dynamic = bench.batches_of(task, load_tokenizer(model), recipe, 2)
    padded = bench.batches_of(task, load_tokenizer(model), recipe_for(task, METHODS["value"], pad_to=40), 2)
    assert all(batch["input_ids"].shape[1] < 40 for batch in dynamic)
    assert all(batch["input_ids"].shape[1] == 40 for batch in padded)


def test_the_report_names_every_ratio(parts, monkeypatch):
    task, folder, _ = parts
    monkeypatch.setattr(bench, "probe", lambda *args, **options: bench_probe(*args, epochs=1, **options))
    result = bench.bench(str(folder), "sst2", task.source, steps=2, rounds=1, pad_to=40, whole_probe=True)
    lines = []
    bench.report(result, lines.append)
    assert all(seconds > 0 for seconds in result["seconds"].values())
    assert all(any(name in line for line in lines) for name in result["ratios"])
    assert {"per-example Fisher / plain backward", "early probe / whole probe"} <= set(result["ratios"])
    assert any("early probe: 3 steps" in line for line in lines)


def test_importing_the_library_loads_no_torch():
    import subprocess
    import sys

    code = "import sys, beft_lib; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_method_is_timed_beside_full_and_the_later_epochs_where_layers_are_kept(parts):
    from beft_lib import bench_methods

    task, folder, _ = parts
    asked = ["value", "value@top-half", "head", "lora", "peft_beft"]
    result = bench_methods.bench_methods(str(folder), "sst2", task.source, asked, steps=2, rounds=1)
    later = {f"{name}{bench_methods.LATER}" for name in ("value@top-half", "head")}
    assert set(result["seconds"]) == {"full", *asked, *later} == set(result["ratios"]) == set(result["peak_memory"])
    assert result["ratios"]["full"] == 1 and all(seconds > 0 for seconds in result["seconds"].values())
    lines = []
    bench_methods.report(result, lines.append)
    assert len(lines) == 1 + len(result["seconds"])


def test_none_named_are_all_that_the_model_knows(parts, tmp_path, monkeypatch):
    from beft_lib import bench_methods

    monkeypatch.setattr(bench_methods, "steps_of", lambda *args: ([1.0], 0))
    task, folder, _ = parts
    for kind, source in (("bert", folder), ("gpt2", tiny.save(tmp_path, "gpt2"))):
        timed = bench_methods.bench_methods(str(source), "sst2", task.source, steps=1, rounds=1)["seconds"]
        assert ("peft_beft" in timed) == (kind == "bert") and {"full", "value@top-half", *METHODS} <= set(timed)
