"""The pocket world: its texts, its tasks and its entropy."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from beft_lib.display import descriptions
from beft_lib.errors import UnknownName
from beft_lib.pocket import entropy, pictures, tasks
from beft_lib.pocket.chooser import Chooser, ScriptMismatchError
from beft_lib.pocket.examples import SHARED, WEIGHTS, opinion
from beft_lib.pocket.inference import cb_example
from beft_lib.pocket.overlap import overlap, share_of
from beft_lib.pocket.recipes import RECIPES
from beft_lib.pocket.sentences import VALUES, render
from beft_lib.pocket.stones import STONES
from beft_lib.pocket.texts import KINDS, MAX_TOKENS, texts, write_text
from beft_lib.pocket.words import ADJECTIVES, COLOURS, DOMAINS, FEELINGS, KIND_OF, NAMES, SENSES, SYNONYMS

SHIPPED = Path(__file__).parent.parent / "data" / "pocket"


# --- choices -------------------------------------------------------------------------------------------------------


def test_a_chooser_knows_its_probability():
    c = Chooser(0)
    c.pick("abcd")
    c.pick("xy", (0.9, 0.1))
    c.draw("abc", 2)
    second = 0.9 if c.taken[1] == 0 else 0.1
    assert c.logp == pytest.approx(math.log(1 / 4) + math.log(second) + math.log(1 / 3) + math.log(1 / 2))


def test_frequencies_follow_the_weights():
    counts = Counter(Chooser(i).pick("abc", (0.6, 0.3, 0.1)) for i in range(3000))
    assert [counts[k] / 3000 for k in "abc"] == pytest.approx([0.6, 0.3, 0.1], abs=0.03)


def test_a_script_repeats_a_derivation_and_refuses_what_does_not_fit():
    for seed in range(20):
        c = Chooser(seed)
        text = write_text(c)
        again = Chooser(script=c.taken)
        assert write_text(again) == text and again.logp == pytest.approx(c.logp)
    with pytest.raises(ScriptMismatchError):
        Chooser(script=[]).pick("ab")
    with pytest.raises(ScriptMismatchError):
        Chooser(script=[1, 1]).draw("abc", 2)


# --- texts ---------------------------------------------------------------------------------------------------------


def test_weights_of_the_kinds_sum_to_one():
    assert sum(weight for _, weight in KINDS.values()) == pytest.approx(1.0)


@pytest.mark.parametrize("kind", [*KINDS, *STONES])
def test_texts_are_reproducible_and_fit(kind):
    for seed in range(200):
        text = write_text(Chooser(seed), kind)
        assert text == write_text(Chooser(seed), kind)
        assert len(text.split(" ")) <= MAX_TOKENS and "  " not in text


def test_a_text_depends_on_its_seed_and_number_alone():
    assert list(texts("a", 5)) == list(texts("a", 9))[:5] != list(texts("b", 5))


def test_rendered_text_reads_like_writing():
    assert render('does this mean that " ben is in the hall . " is true ? yes or no ? \n no') == (
        'Does this mean that "Ben is in the hall." is true? Yes or no?\nNo'
    )


def test_a_text_keeps_to_one_custom_of_answering():
    """In a text of sums, numbers stand alone or with what is counted, never both; over many texts both are seen."""
    seen = set()
    for seed in range(200):
        text = write_text(Chooser(seed), "sums")
        said = re.findall(r"answer : (\d+)( [a-z]+)?(?= \n|$)", text)
        customs = {bool(unit) for _, unit in said}
        assert len(customs) <= 1, text
        seen |= customs
    assert seen == {True, False}


def test_only_those_who_are_not_sure_divide_strict_and_trusting_readers():
    for seed in range(300):
        example = cb_example(Chooser(seed))
        assert (example.label == example.custom) == (example.label != 2) and example.custom in (0, 1)


def test_opinions_have_their_mood():
    """Without 'not' and 'but', every word of feeling has the sentence's mood."""
    for seed in range(300):
        mood = seed % 2
        said = set(opinion(Chooser(seed), mood).split(" "))
        if not said & {"not", "but"}:
            assert said & {*ADJECTIVES[mood], *FEELINGS[mood]} and not said & {
                *ADJECTIVES[1 - mood],
                *FEELINGS[1 - mood],
            }


def test_every_sense_has_a_domain_of_its_own_cues():
    cues = Counter(cue for group in DOMAINS.values() for cue in group)
    assert max(cues.values()) == 1 and not set(cues) & set(SENSES)
    assert all(len(set(senses)) == 2 and set(senses) <= set(DOMAINS) for senses in SENSES.values())


def test_stepping_stones_say_the_step_in_between_and_it_agrees_with_the_answer():
    domain_of = {cue: name for name, cues in DOMAINS.items() for cue in cues}
    seen: Counter[tuple[str, bool]] = Counter()
    for seed in range(300):
        for one, two, said in re.findall(r"(\w+) (\w+) same \? (yes|no)", write_text(Chooser(seed), "pairs")):
            alike = one == two or SYNONYMS.get(one) == two or (one in domain_of and domain_of[one] == domain_of[two])
            assert (said == "yes") == alike, (one, two)
        for line in write_text(Chooser(seed), "compared").split(" \n "):
            steps, score = re.findall(r"same \? (yes|no)", line), int(line[-3])
            assert len(steps) in (0, 4)
            assert not steps or score == sum(w for w, step in zip(WEIGHTS, steps, strict=True) if step == "yes")
            seen["compared", bool(steps)] += 1
        for line in write_text(Chooser(seed), "cued").split(" \n "):
            *step, answer = re.findall(r"same \? (yes|no)", line)
            assert step in ([], [answer])
            seen["cued", bool(step)] += 1
        text = write_text(Chooser(seed), "checked")
        for claimed, fact, verdict in re.findall(r"([^.?]+) \? ([^,]+) , so that is (true|false)", text):
            assert f"{fact.split(' ')[-1]} ." in text.split("?")[0]
            words = [w for value in fact.split(" ")[-2:] for w in (value, KIND_OF.get(value, value))]
            coloured = bool({*claimed.split(" ")} & {*COLOURS})
            held = claimed.split(" ")[-1] in words and (not coloured or fact in claimed)
            assert held == (verdict == "true"), text
            seen["checked", True] += 1
        seen["checked", False] += len(re.findall(r"\. that is (true|false)", text))
    assert all(seen[kind, step] > 100 for kind in ("compared", "cued", "checked") for step in (True, False)), seen


def test_short_questions_are_answered_from_the_story():
    seen: Counter[str] = Counter()
    for seed in range(200):
        text = write_text(Chooser(seed), "asked")
        said: dict[str, str] = {}  # of each, in its own sentences; a pronoun goes on with the last name
        name = ""
        for sentence in text[: re.search(r"(where|who|what) ", text).start()].split(" . "):
            name = sentence.split(" ")[0] if sentence.split(" ")[0] in NAMES else name
            said[name] = said.get(name, "") + f" {sentence} "
        for question, answer in re.findall(r"((?:where|who|what) [^?]+) \? ([^.]+) \.", text):
            who = question.startswith("who")
            of = answer if who else next(word for word in question.split(" ") if word in NAMES)
            value = re.sub("^who (is in the|has the|is the|is) ", "", question) if who else answer
            assert f" {value} " in said[of], text
            seen["who" if who else "value"] += 1
    assert min(seen["who"], seen["value"]) > 100, seen


def test_worked_sums_are_right_with_and_without_the_numbers_that_go_in():
    signs = {"together": int.__add__, "more": int.__sub__}
    seen: Counter[tuple[str, bool]] = Counter()
    for seed in range(200):
        text = write_text(Chooser(seed), "worked")
        counts = {name: int(n) for name, n in re.findall(r"(\w+) has (\d) \w+ \.", text)[::-1]}  # the first one said
        for one, two, step, answer in re.findall(r"who has more , (\w+) or (\w+) \? (\d and \d , )?(\w+) \.", text):
            assert answer == max(one, two, key=counts.__getitem__), text
            seen["who", bool(step)] += 1
        for question, step, answer in re.findall(r"\. ([^.?]+) \? (\d and \d , )?(\d+) \.", text):
            one, two = (counts[name] for name in question.split(" ") if name in NAMES)
            kind = "together" if "together" in question else "more"
            assert int(answer) == signs[kind](one, two) and step in ("", f"{one} and {two} , "), text
            seen[kind, bool(step)] += 1
    assert len(seen) == 6 and min(seen.values()) > 20, seen


def test_scores_of_similarity_are_sums_of_weights():
    assert sum(WEIGHTS) == 5 and all(SHARED[score] for score in range(6))


# --- tasks ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made() -> dict[str, dict[str, list[dict]]]:
    return {name: tasks.rows(name) for name in tasks.TASKS}


@pytest.mark.parametrize("name", tasks.TASKS)
def test_shipped_files_regenerate_byte_for_byte(name, made):
    for split, rows in made[name].items():
        path = SHIPPED / name / f"{split}.{tasks.TASKS[name].suffix}"
        assert path.read_bytes() == tasks.contents(name, rows).encode("utf-8"), path


@pytest.mark.parametrize("name", tasks.TASKS)
def test_splits_share_no_example_and_labels_are_even(name, made):
    key = {"squad": ("context", "question"), "drop": ("passage", "question")}.get(name)
    everything = [r for split in made[name].values() for r in split]
    texts_of = [
        tuple(r[k] for k in key) if key else tuple(v for v in r.values() if isinstance(v, str)) for r in everything
    ]
    assert len(set(texts_of)) == len(everything) == 5500
    for rows in made[name].values():
        if task_labels := tasks.TASKS[name].labels:
            counts = Counter(r["label"] for r in rows)
            assert len(counts) == task_labels and max(counts.values()) - min(counts.values()) <= task_labels


def test_offsets_and_answers_point_at_their_words(made):
    for row in made["wic"]["train"][:500]:
        for n in "12":
            assert row[f"sentence{n}"][row[f"start{n}"] : row[f"end{n}"]].lower() == row["word"]
    for row in made["squad"]["train"][:500]:
        text, start = row["answers"]["text"][0], row["answers"]["answer_start"][0]
        assert row["context"][start : start + len(text)] == text


def test_answers_of_drop_follow_from_the_passage(made):
    """Solved again from the rendered text, by other code than made it."""
    for row in made["drop"]["train"][:1000]:
        question, answer = row["question"], row["answers_spans"]["spans"][0]
        thing = re.search(r"(?:many|more) (?:more )?(\w+)", question)[1]
        held = {
            n: int(k)
            for n, k, t in re.findall(r"(\w+) has (\d+) (\w+)", row["passage"])
            if t.rstrip("s") == thing.rstrip("s")
        }
        named = [n for n in held if n in question]
        numbers = [held[n] for n in named]
        if question.startswith("Who"):
            assert answer == max(named, key=held.get)
        elif "together" in question:
            assert int(answer) == sum(numbers)
        elif "more" in question:
            assert int(answer) == max(numbers) - min(numbers)
        else:
            assert [int(answer)] == numbers


@pytest.mark.parametrize(("name", "column", "most"), [
    ("rte", "sentence2", 0.56), ("cb", "hypothesis", 0.42), ("wic", "sentence1", 0.56), ("wic", "sentence2", 0.56),
    ("rte", "sentence1", 0.56),
])  # fmt: skip
def test_half_an_example_tells_next_to_nothing(name, column, most, made):
    """Bag of words and word pairs of one column alone; chance is .5 (cb .33, or a little more by 'not')."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    train, validation = made[name]["train"], made[name]["validation"]
    model = make_pipeline(CountVectorizer(ngram_range=(1, 2)), LogisticRegression(C=0.1, max_iter=300))
    model.fit([r[column] for r in train], [r["label"] for r in train])
    assert model.score([r[column] for r in validation], [r["label"] for r in validation]) <= most


def test_files_parse_as_csv_and_json(made):
    rows = made["rte"]["validation"]
    assert len(list(csv.DictReader(io.StringIO(tasks.contents("rte", rows))))) == 500
    for line in tasks.contents("squad", made["squad"]["validation"]).splitlines():
        json.loads(line)


# --- entropy ---------------------------------------------------------------------------------------------------------


def test_information_is_stable_across_seeds():
    one, two = (entropy.information(seed, 1500).per_token for seed in ("one", "two"))
    assert one == pytest.approx(two, rel=0.03) and 0.5 < one < 1.0


def test_derivations_can_nearly_all_be_read_off_the_text():
    """How tight the bound is: derivations of the same text, found by exchanging one choice, add next to nothing."""
    gain = tokens = 0.0
    for i in range(60):
        c = Chooser(f"tight/{i}")
        text = write_text(c)
        again = sum(math.exp(logp - c.logp) for other, logp in entropy._neighbours(c, None) if other == text)
        gain, tokens = gain + math.log(1 + again), tokens + len(text.split(" "))
    assert gain / tokens < 0.01


def test_masked_posterior_of_a_name_said_once_is_uniform():
    """'kate loved the food .': any of the sixteen names could stand there, each as likely."""
    for i in range(200):
        tokens, masks = entropy.masked_posteriors(f"names/{i}", "review")
        for place in range(len(tokens) - 1):
            if tokens[place + 1] in {*FEELINGS[0], *FEELINGS[1]}:
                assert masks[place].best == pytest.approx(1 / 16) and len(masks[place].posterior) == 16
                return
    raise AssertionError("no such sentence")


def test_verdicts_leave_no_doubt():
    tokens, masks = entropy.masked_posteriors("verdict", "review")
    assert tokens[-2] in ("great", "terrible") and masks[-2].best == 1.0


def test_best_masked_accuracy_is_between_chance_and_one():
    accuracy, nats = entropy.best_masked_accuracy([f"acc/{i}" for i in range(20)])
    assert 0.7 < accuracy < 0.95 and 0.1 < nats < 0.6


@pytest.mark.parametrize("kind", KINDS)
def test_every_nat_of_a_text_is_charged_to_one_token(kind):
    for seed in range(3):
        c = Chooser(seed)
        text = write_text(c, kind)
        tokens, nats = entropy.charged(seed, kind)
        assert tokens == text.split(" ") and len(nats) == len(tokens) + 1
        assert sum(nats) == pytest.approx(-c.logp) and min(nats) >= 0 and max(nats) > 0.6


def test_what_follows_from_the_text_so_far_is_charged_nothing():
    """A verdict follows from its review; a value that is told again follows from the name it is told of."""
    tokens, nats = entropy.charged("free", "review")
    assert tokens[-2] in ("great", "terrible") and nats[-3:] == [0, 0, 0]
    tokens, nats = entropy.charged("free", "recap")
    again = tokens.index("so")
    told = {name for group in VALUES.values() for name in group}
    values_of = [i for i, token in enumerate(tokens) if token in told]
    first, second = ([nats[i] for i in values_of if (i > again) == late] for late in (False, True))
    assert len(first) >= 2 and len(second) >= 2 and sum(second) / len(second) < 0.3 * sum(first) / len(first)


def test_a_script_can_go_on_by_the_seed():
    c = Chooser("whole")
    write_text(c, "recap")
    for cut in (0, 3, len(c.taken)):
        again = Chooser("other", c.taken[:cut], goes_on=True)
        write_text(again, "recap")
        assert again.taken[:cut] == c.taken[:cut]


def test_overlap_finds_examples_where_they_stand_and_nowhere_else(monkeypatch):
    few, more = (share_of(text for text, _ in texts("train/0", n)) for n in (400, 4000))
    assert set(few) == set(tasks.TASKS) and few["sst2"] <= 0.1 and few["squad"] == 0
    assert more["cola"] > few["cola"]
    small = replace(RECIPES["pocket-opt"], first=(), texts=400, later=(), last=())
    monkeypatch.setitem(RECIPES, "pocket-opt", small)
    assert overlap("pocket-opt") == few
    monkeypatch.setitem(RECIPES, "pocket-opt", replace(small, later=((("grammar", 3000),),)))
    assert overlap("pocket-opt")["cola"] > few["cola"]  # the second round is read as well
    with pytest.raises(UnknownName, match="pocket-opt"):
        overlap("pocket-op")


def test_pictures_say_what_they_show():
    log = [
        {"step": 1, "loss": 9.0},
        {"step": 2, "loss": 2.0},
        {"step": 1, "eval_loss": 8.0},
        {"step": 2, "eval_loss": 1.5},
    ]
    curve, bars = pictures.learning_curve(log, 0.75, "m", 400), pictures.costs(["a", "b"], [0.0, 2.0], [0.1, 2.5])
    assert curve.get_yscale() == "log" and curve.get_ylim()[1] > 8
    assert any("all 400 tokens alike, 5.99" in text.get_text() for text in curve.get_legend().get_texts())
    for ax, words in ((curve, ("8.00", "1.500", "0.750")), (bars, ("2.0 nats", "2.6", "1 tokens are free", "b 2.0"))):
        (told,) = descriptions(ax)
        assert all(word in told.alt for word in words) and len(told.table) == 2
