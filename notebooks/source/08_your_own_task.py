# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 08 · Your own task
#
# **The one idea:** anybody can get a number out of a file. A *choice* is worth what you can say for it when somebody asks: compared with
# what, how sure, at what cost, and what would have changed it.
#
# **After this lesson you can**
#
# - turn a csv, with the faults that real ones have, into a task, and into an adapter in one call;
# - say whether the tuned bias beat head only, with an interval over examples and one over seeds;
# - break the method on purpose, and say which settings your choice depends on;
# - read what the course has measured about the question that the paper leaves open;
# - write down a decision that another person can check.
#
# **Time:** about 60 minutes with the exercises. The code itself runs for at most 5 minutes in the profile `laptop`, 1 minute in `pocket`, on two CPU cores.
#
# **You need:** lesson 03 (the probe) and the table of lesson 05. What we use of lessons 02 and 04 is said again.

# %%
beft_lib.start("08")

# %%
import os
import tempfile
import textwrap
import warnings
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch

from beft_lib import DataWarning, find_biases, load_model, load_task, load_tokenizer, own_task, predict, probe, tune_own
from beft_lib import checks as check
from beft_lib import importance_per_layer, magnitude_per_layer, plots, restore
from beft_lib.architectures import family_of, layers_of, output_of
from beft_lib.comparing import paired
from beft_lib.display import say, show
from beft_lib.plots_rulers import relation_forest, settings_dots

# %% [markdown]
# ## 1. A file as people have them
#
# You ask the visitors of your shop or cinema what they think, and whether they were happy. The form leaves you with a spreadsheet. We make
# such a file here, out of the sentences of the task sst2 that the course uses anyway. It is saved the way a spreadsheet program in much of
# Europe saves it, and has faults that real files have. (A file of your own? Do this section with ours. Then set
# `task = attempt("yours.csv", text="COLUMN", label="COLUMN")` just before section 2; the rest works with one text and a class in each row.)

# %%
home = Path(tempfile.mkdtemp(prefix="beft-lesson08-"))  # the course's own folder may be read-only
sst2 = load_task("sst2", n_train=300)
said = pd.DataFrame([*sst2.train, *sst2.validation.select(range(200))])
form = pd.DataFrame({"nr": said.index + 1})
form["where"] = ["Café Müller" if nr % 50 == 7 else "online" for nr in form["nr"]]
form["what they said"] = said["sentence"]
form["happy?"] = said["label"].map({0: "no", 1: "yes"})
other = {"no": "yes", "yes": "no"}[form.at[4, "happy?"]]
form.loc[len(form)] = [len(form) + 1, "online", form.at[4, "what they said"], other]
form.loc[[40, 96], "happy?"] = None
raw = home / "comments.csv"
form.to_csv(raw, sep=";", index=False, encoding="cp1252", errors="replace")
print(*raw.read_text(encoding="cp1252").splitlines()[:9], sep="\n")

# %% [markdown]
# `own_task` turns a file into a task as `load_task` does. It guesses nothing. Where a file can be read in one way, it reads it; where
# there is doubt, it refuses, with line and reason. This small function shows what it says.


# %%
def attempt(file, **options):
    """The task in a file, or None; prints what was refused, or noted"""
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always", DataWarning)
        try:
            task = own_task(file, **options)
        except ValueError as error:
            print("refused:", str(error).replace(f"{home}{os.sep}", ""))
            return None
    for note in notes:
        if issubclass(note.category, DataWarning):
            print("note:", note.message)
    return task


attempt(raw)

# %% [markdown]
# **Predict:** you have seen the first lines of the file. Which is the byte it stumbles over? And when that is mended, what will be the
# next thing that cannot be certain?

# %% [markdown]
# ### Exercise 1: what does it have to be told?
#
# Find the options with which the file is accepted. Each refusal names the next one: try `attempt(raw, encoding="...")`, and go on from there.
# An answer that is missing cannot be filled in by anyone but the visitor, so rows without one may be left out.

# %% tags=["stub", "nbval-check-output"]
my_options = ...  # dict(encoding=..., ...): then attempt(raw, **my_options)

check.l08_mend(my_options)

# %% tags=["solution", "nbval-check-output"]
my_options = dict(encoding="cp1252", text="what they said", label="happy?", drop_missing=True)

check.l08_mend(my_options)

# %% [markdown]
# The other way is to mend the *file*, once and for all: UTF-8, columns with names that the library knows, and nothing in it that the task
# does not need. That is the better way if you are going to use the file more than once.

# %%
frame = pd.read_csv(raw, sep=";", encoding="cp1252").dropna(subset="happy?")
frame = frame.rename(columns={"what they said": "text", "happy?": "label"})
frame[["text", "label"]].to_csv(home / "mended.csv", index=False)
task = attempt(home / "mended.csv")
print(str(task).replace(f"{home}{os.sep}", ""))

# %% [markdown]
# Read the note. One visitor seems to have said the same words twice, and was happy once and not happy once. Had one of the two rows been
# trained on and the other one scored, the score would have measured memory. So the second is left out. *Which* of the answers is right
# only you can find out. (The line is that of the file as it is now.)

# %% tags=["nbval-check-output"]
labels = task.row.labels
print("the task's labels:", labels)
size = len(task.train) + len(task.validation)
print("neither an empty answer nor a text said twice is in it:", size <= len(said) - 2)

# %% [markdown]
# ## 2. What can a score on this file say at all?
#
# Before any training, two numbers put a frame around every later one: what saying always the same would score, and how wide an interval of
# the validation examples is. With $n$ examples and an accuracy $p$, 95 % intervals reach about
#
# $$ 1.96\,\sqrt{\frac{p\,(1-p)}{n}} $$
#
# to each side (lesson 03). **Predict:** how far is that for the examples held out here, and a $p$ of 0.7?

# %%
held = task.validation.to_pandas()
n, most = len(held), held["label"].value_counts(normalize=True).max()
print(f"{n} examples held out; always the same answer: {most:.2f}; ± {1.96 * (0.7 * 0.3 / n) ** 0.5:.2f} around 0.70")

# %% [markdown]
# So with a hundred examples a single accuracy is known to about nine points. Differences between two methods on the *same* examples are known
# better, because what is hard for one is often hard for the other. To halve an interval takes four times as many examples. No
# choice of a bias makes up for that, and it is the first thing to tell whoever asks for "one per cent better".

# %% [markdown]
# ## 3. Choose, tune, compare
#
# `tune_own` does what lessons 03 and 05 did by hand: it trains head only; a probe trains query, key and value together until its ranking
# is settled; the winner, and only that, is tuned from the pretrained model again; both are scored, and the winner is saved. This is a
# short race at a high learning rate, the same for everybody. (About a minute.)
#
# **Predict:** which term? And by how much does it beat head only: more than the interval allows to chance?

# %%
model = load_model("bert", task)
race = dict(max_steps=100, learning_rate=8e-3)
first = tune_own(task, model, save=home / "adapter", **race)
print(str(first).replace(f"{home}{os.sep}", ""))

# %% [markdown]
# The interval behind the difference is over *examples*: it says what other visitors might have said. It does not know what another **seed**
# would have done, with another first head, another order of examples and other dropout. For that we run the comparison again, with the
# choice as it is. (Less than a minute.)

# %%
choice = first.run.method
every = [first, *(tune_own(task, model, method=choice, seed=seed, **race) for seed in (1, 2))]
runs = [run for one in every for run in (one.run, one.plain)]
show(plots.runs(runs, chance=most))

# %% [markdown]
# The dashed line is the constant answer. Compare within each seed, as in lesson 05: both methods began with the same head, and saw the same
# batches.

# %%
test = paired([one.run.score for one in every], [one.plain.score for one in every])
gain, half = test["difference"], test["±"]
shown = "above" if gain > half else "below" if gain < -half else "not to be told from"
measured = f"{gain:+.3f} ± {half:.3f}" if pd.notna(half) else f"{gain:+.3f} in every seed (no interval)"
print(f"{choice} - head: {measured} over {test['n']} seeds: {shown} zero")

# %% tags=["nbval-check-output"]
print("the head is trained in both:", first.run.counts.head == first.plain.counts.head)
print("the choice is under a hundredth of the model:", first.run.counts.method < first.run.counts.model / 100)

# %% [markdown]
# Two doubts, two intervals, and a claim needs both: either can be the wider one. (Three seeds give a wide interval, whatever they show: with
# two degrees of freedom the factor is 4.3 in place of 1.96.) If one of yours includes zero, it is *not shown* that the bias helps. That
# is a result. You may still use the adapter, but say "not shown to be better than head only", and not "better".

# %% [markdown]
# ### Put it to use, and read its mistakes
#
# The folder is all that somebody needs who has the base model. `predict` loads both.

# %%
held["label"] = [labels[number] for number in held["label"]]
held["says"] = predict(home / "adapter", list(held["text"]))
wrong = held[held["says"] != held["label"]]
show(wrong.head(6), f"{len(wrong)} of {n} examples held out are answered wrongly; the first of them")

# %% tags=["nbval-check-output"]
print("loaded from its folder it is as good as it was:", abs(1 - len(wrong) / n - first.run.metrics["accuracy"]) < 1e-6)

# %% [markdown]
# Read them, all of them if you can. Is there a pattern: denials, irony, two opinions in one sentence? Are some of the *labels* wrong? Ten
# minutes with the mistakes tell you more about your task than ten more methods. A sentence of your own:

# %%
print(predict(home / "adapter", ["It was not what I had hoped for.", "A lovely evening."]))

# %% [markdown]
# ## 4. Break the method
#
# The probe has named a term. Would it have named the same one under other settings, that nobody would think worth a mention? A choice that
# hangs on one of these is not a finding about your task. We look for the settings that break it.

# %% [markdown]
# ### The length that nobody needs
#
# Let us start with the sharpest one, and first on paper. Lesson 02 proved that $b_v$ passes straight through attention: each row of
# attention sums to 1, so that the layer puts out
#
# $$ W_o\,(A\,W_v x + b_v) + b_o \;=\; W_o\,A\,W_v x \;+\; \underbrace{W_o b_v + b_o}_{\text{all that matters}} . $$
#
# So the same model can be written down with *any* $b_v$: make it $c$ times as long, and take $(c-1)\,W_o b_v$ off $b_o$. Every output stays as it was.
# So does every gradient at $b_v$, and therefore every step of the training.
#
# **Predict:** what does that do to magnitude, to Fisher information, and to importance?

# %% [markdown]
# ### Exercise 2: the same move, seen from a longer vector
#
# Magnitude looks at the move alone, and Fisher at the gradient, so both stay. Importance looks at where the move started. Write
# `score_if_longer(pre, move, c)`: the importance of each layer, if pre were c times as long and the move the same.
# (`importance_per_layer(pre, post)` is there.)


# %% tags=["stub", "nbval-check-output"]
def score_if_longer(pre, move, c):  # (L, d), (L, d), a number -> (L,)
    ...


check.l08_longer(score_if_longer)


# %% tags=["solution", "nbval-check-output"]
def score_if_longer(pre, move, c):  # (L, d), (L, d), a number -> (L,)
    return importance_per_layer(c * pre, c * pre + move)


check.l08_longer(score_if_longer)

# %% [markdown]
# Here is a short probe, and what the formula says of its value bias. (`None` in the table: do exercise 2 first.)

# %%
short = dict(max_steps=12, learning_rate=4e-3)
base = probe(model, task, every=1, **short)
pre, post = base.pre["value"], base.post()["value"]  # (L, d) each
foretold = {c: score_if_longer(pre, post - pre, c) for c in (1, 2, 5, 10, 20)}
row = {f"c = {c}": None if scores is None else scores.mean().item() for c, scores in foretold.items()}
print(base)
show(pd.DataFrame(row, index=["value, foretold"]), "Importance of the same moves, the value bias c times as long")

# %% [markdown]
# Look for the $c$ at which value falls behind query, whose score does not change. Then we do it. The next function writes the same model
# down with other numbers.


# %%
def longer(c):
    """The same model with every b_v c times as long; the output projection's bias makes up for it"""
    other = load_model("bert", task)
    with torch.no_grad():
        for layer, part in zip(layers_of(other), find_biases(other)["value"].parts, strict=True):
            output, b_v = output_of(layer, family_of(other)), part.module.bias
            output.bias -= output.weight @ ((c - 1) * b_v)
            b_v *= c
    return other


c = 10
rewritten = longer(c)

# %% tags=["nbval-check-output"]
restore(model)  # back to pretrained
tokens = load_tokenizer(model)(list(task.validation["text"][:8]), padding=True, return_tensors="pt").to(model.device)
with torch.no_grad():
    before, after = (one.eval()(**tokens).logits for one in (model, rewritten.to(model.device)))
print("the same answers:", torch.allclose(before, after, atol=1e-4))

# %%
again = probe(rewritten, task, **short)
rulers = {"importance": {}, "magnitude": {"score": magnitude_per_layer}}
lines = {(ruler, name): dict(seen.ranking(**how)) for ruler, how in rulers.items()
         for name, seen in (("as it came", base), (f"b_v × {c}", again))}  # fmt: skip
table = pd.DataFrame(lines).T
show(table.assign(first=table.idxmax(axis=1)), "The same model, written down in two ways")

# %% tags=["nbval-check-output"]
fell = table.loc[("importance", f"b_v × {c}"), "value"] / table.loc[("importance", "as it came"), "value"]
kept = table.loc[("magnitude", f"b_v × {c}"), "value"] / table.loc[("magnitude", "as it came"), "value"]
print("value's importance fell to less than a half:", bool(fell < 1 / 2))
print("value's magnitude stayed, to a fifth:", bool(abs(kept - 1) < 0.2))

# %% [markdown]
# (Not to the last digit: while training, dropout removes some of the attention, its rows no longer sum to exactly 1, and a longer $b_v$ feels more of that.)
#
# So the score compares a move with a length that the model's answers do not determine. It is fixed by *how the model was pretrained*: from where
# the biases started, with which weight decay. Models that were made alike may share it, and then comparing their terms is fair
# enough. It is no property of your task. Lesson 04 showed that magnitude and Fisher depend on the unit, and that importance does not. Here it
# is the other way round: they do not care about the origin, and importance does. No ruler is free of conventions.

# %% [markdown]
# ### Nine more settings
#
# Now the ones that people really change, often without saying so. Each row is one probe of twelve steps, and differs from the first in one
# thing:
#
# - **length of the probe**: read off the record of the first one, after 3 and 6 steps;
# - **seed**: another head, other batches, other dropout;
# - **learning rate**: a tenth;
# - **$\varepsilon$**: what Adam adds below the line, $10^{-12}$ in place of $10^{-6}$;
# - **weight decay** 0.1, which in this library shrinks the *move*, not the bias;
# - **dtype**: the frozen base in bfloat16 (what is trained stays in float32);
# - **head**: drawn ten times as large;
# - **company**: all other biases are trained as well, as in the paper's own probe;
# - **labels**: shuffled, so that there is nothing to learn.
#
# **Predict:** write down those that you think change the *choice*, and those that change the *scores* a lot and not the choice. Remember
# what lesson 02 said of a bias whose gradient is nothing but rounding noise. (About half a minute.)

# %%
loud = load_model("bert", task)
loud.config.initializer_range *= 10  # the spread that a new head is drawn from
coarse = load_model("bert", task, dtype=torch.bfloat16)
mixed = task.train["label"][1:] + task.train["label"][:1]
shuffle = torch.randperm(len(mixed), generator=torch.Generator().manual_seed(0)).tolist()
nonsense = replace(task, train=task.train.remove_columns("label").add_column("label", [mixed[i] for i in shuffle]))
settings = {
    "another seed": (model, task, {"seed": 1}),
    "learning rate / 10": (model, task, {"learning_rate": short["learning_rate"] / 10}),
    "eps 1e-12": (model, task, {"eps": 1e-12}),
    "weight decay 0.1": (model, task, {"weight_decay": 0.1}),
    "base in bfloat16": (coarse, task, {}),
    "head × 10": (loud, task, {}),
    "all biases trained": (model, task, {"all_biases": True}),
    "labels shuffled": (model, nonsense, {}),
}

# %%
found = {"as it came": base.ranking(), "after 3 steps": base.ranking(3), "after 6 steps": base.ranking(6)}
for name, (which, on, changes) in settings.items():
    found[name] = probe(which, on, **{**short, **changes}).ranking()
found[f"b_v × {c} (same model)"] = again.ranking()
broken = pd.DataFrame({name: dict(ranking) for name, ranking in found.items()}).T
show(settings_dots(broken))

# %%
chosen = broken[["query", "key", "value"]].idxmax(axis=1)
changed = [name for name in chosen.index if chosen[name] != chosen["as it came"]]
kept = [name for name in chosen.index[1:] if name not in changed]
print(f"The first probe chose {chosen['as it came']}.")
print("Another choice:", ", ".join(f"{name} ({chosen[name]})" for name in changed) or "none")
print("The same choice:", ", ".join(kept) or "none")

# %% [markdown]
# Compare with what you wrote down. Some things to look for in the picture:
#
# - **A dead bias that wins.** The key bias of a BERT can do nothing. Where its marker jumps far to the right, Adam has turned rounding noise into full
#   steps, and short key vectors did the rest. Whatever makes the noise larger beside $\varepsilon$ can do it: a smaller $\varepsilon$, a coarser
#   dtype (of the *frozen* part, though what is trained is in float32), a head with larger weights (tenfold is not enough here). That is not a close call between two good
#   terms. It is the method, broken. So these settings belong in every report; and where the key bias should be dead, *look at it*.
# - **Scores that move, and a choice that stays.** A tenth of the learning rate cuts MiniLM's value score some fiftyfold, a quarter of the steps threefold. So a score is not a property of a term, and
#   nothing follows from "0.6 on my task, 0.3 on yours".
# - **Shuffled labels.** If the choice is the same, and the score nearly as high, then the probe has told you about the pretrained
#   model and not about your task. That need not make the choice bad. It makes "the probe found out what matters for my task" false.
#
# What this table cannot show is whether another choice would have been *worse*. For that, tune both terms and compare, as in section 3.

# %% tags=["nbval-check-output"]
keys = broken["key"]
print("a tiny eps lifts the dead key bias:", bool(keys["eps 1e-12"] > 2 * keys["as it came"]))
print("a coarse base lifts it:", bool(keys["base in bfloat16"] > 2 * keys["as it came"]))
print("decay of the move does not:", bool(keys["weight decay 0.1"] < keys["as it came"] + 0.1))

# %% [markdown]
# ## 5. The question that the paper leaves open
#
# The authors say it themselves: how the score relates, *in number*, to performance is not known. One task cannot answer that. The course
# measures it: on several tasks and with several seeds, each term is tuned alone, at a learning rate chosen for it on a held-out part of *train*, and
# every ruler is read off the same runs. (Lesson 04 asked which ruler names the best term most often.) "Relates" can mean three things:
#
# - **three terms**: within one task and seed, is the order of the three scores that of the three performances?
# - **query or value**: the same for these two alone.
# - **task to task**: take one term of one model. Does it gain more over head only on those tasks where it scores higher? (A gain is a share of
#   what head only leaves to gain, up to a perfect 1: the tasks have four different metrics.)
#
# All three are answered by **Kendall's tau**. Take every pair of things; count it as +1 if score and performance put them in the same
# order, as −1 if not; and take the mean. So it is 1 for the same order, −1 for the reverse one, and about 0 if there is no relation.
#
# **Predict:** a tau for each question, for the paper's importance. And for somebody who says "value, query, key" every time, without looking?

# %%
from beft_lib.relating import UNSEEN, leads, relation, told
from beft_lib.rulers import RULERS
from beft_lib.verdicts import MEASURE, shipped

measurements = shipped("rulers*.json", with_biases=True)
if measurements:
    related = relation(measurements)
    few = related["ruler"].isin(["importance", "magnitude", "Fisher, warm head", UNSEEN])
    show(related[few].set_index(["ruler", "question"]), "Kendall's tau, with 95 % intervals over tasks")
else:
    print(f"No measurements here yet. This makes them, in hours: {MEASURE}")

# %%
if measurements:
    show(relation_forest(related))
    show(pd.DataFrame({"what it is": RULERS}).rename_axis("ruler"), "The rulers of this picture")
    say([*told(measurements), *leads(related)])

# %% [markdown]
# A model that was given biases of zero has no importance, so it is not counted above. Here it is by itself, with magnitude in importance's place.

# %%
bare = shipped("rulers*.json", with_biases=False)
if bare:
    say([*told(bare, "magnitude"), *leads(relation(bare))])

# %% [markdown]
# In short: on these tasks importance orders the three terms no better than somebody who always says "value, query, key". Read it with these limits:
#
# - **What was covered**: the first sentence of a list names models, tasks and seeds. The intervals are over tasks (one task from two sources
#   counts as one); no interval can say what another *kind* of model would do. With few tasks they are rough.
# - **Many intervals at once**: every ruler is asked three questions. Of twenty intervals one leaves out zero by chance, though nothing is
#   there, and the strongest of many looks stronger than it is. So the ruler named as farthest from zero is one to measure again, not a finding.
# - **A dead key is a trap.** Its performance is that of head only, so two of the three pairs only ask whether query and value beat the head. The
#   open marker, which looks at nothing, gets most of these right (counted in the list). A ruler that reads moves can get them wrong: Adam moves a dead key, too (lesson 02).
# - **Task to task compares scores of different probes**: other learning rates, other numbers of steps. You have just seen what these do to a
#   score. A tau near zero here can mean that there is no relation, or that the score's scale hides it. And where head only is nearly
#   perfect, a share of what it leaves is a share of little.
# - **Tau is about order.** It cannot say how many points a score of 0.3 is worth. If the order does not hold, no such number exists; if it
#   does, it still has to be found.
# - Where no term beats head only, there is no order in the performances but noise, and it pulls every tau towards zero.
#
# To add your own model: `python -m beft_lib rulers --model YOURS --data mini --seeds 0 1 2 --epochs 8 --out data/results/rulers_yours.json` (hours).
# This lesson then counts it; `python -m beft_lib agreement FILE` shows it alone.

# %% [markdown]
# ## 6. How to defend a choice
#
# Before you show a result to someone, ask yourself what they will ask. None of these takes long, and most of it you have done by now:
#
# | they ask | you show | lesson |
# |---|---|---|
# | Did it learn anything? | the loss; the constant answer | 03, and section 2 here |
# | Is that the bias, or the head? | the head-only row, paired over seeds | 05 |
# | How sure are you? | an interval over examples and one over seeds | section 3 here, 05 |
# | Why this term? | the scores, *and* the runner-up tuned as well | 03, 04 |
# | Would you have chosen otherwise, had you …? | the settings that change the choice | section 4 here |
# | Is it about the task? | the probe on shuffled labels | 03 |
# | Is the key where it should be? | its score, under the settings you used | 02 |
# | What did you look at before you chose? | that no choice was made on the validation examples | 05 |
# | What does it cost? | parameters, bytes, seconds, beside full fine-tuning | 05 |
# | Where does it fail? | its mistakes, read; a kind of text it never saw | section 3 here |
#
# Hardly anybody can answer all ten. A good defence says which it leaves open.

# %% [markdown]
# Here is a draft for your own task, filled in from what was measured above. It has the numbers. It has no judgement.

# %%
(_, top), (second, next_best), _ = first.probe.ranking()
_, low, high = first.gain
counts, size = first.run.counts, sum(file.stat().st_size for file in (home / "adapter").iterdir())
scores = [sum(one.score for one in which) / len(every) for which in (runs[::2], runs[1::2])]
draft = f"""I tuned the {choice} bias. In a probe of {first.probe.steps[-1]} steps its importance was {top:.3f}, that of {second}
{next_best:.3f}. Over {len(every)} seeds it scored {scores[0]:.3f} ({first.run.metric}, {n} examples), and head only
{scores[1]:.3f}: a difference of
{measured}, {shown} zero; over the examples, seed {first.run.seed} alone: {low:+.3f} to {high:+.3f}, {first.verdict}.
Always the same answer scores {first.constant[1]:.3f}. It costs {counts.method:,}
parameters beside the head's {counts.head:,}, and {size / 1000:.0f} kB on disk. Of {len(chosen) - 1} other settings,
{len(changed)} changed the choice ({", ".join(changed) or "none"}). I would not trust it for …"""
print(textwrap.fill(" ".join(draft.split()), 110))

# %% [markdown]
# ### Exercise 3: your decision
#
# Write it as you would sign it: which term (or head only, if that is what the numbers say), why, against what, how sure, at what cost, and
# what you would *not* trust it for. There is no single right answer, and "it is not worth it" is a fine one. The check looks for the parts that a
# reader needs.

# %% tags=["stub", "nbval-check-output"]
my_decision = ...  # a text; begin with the draft if you like: draft.replace("…", "…")

check.l08_decide(my_decision)

# %% tags=["solution", "nbval-check-output"]
limits = """longer texts or other visitors: all examples are single sentences from one form. Whether the choice comes from
the task at all, one probe on shuffled labels cannot say, and the runner-up was not tuned."""
my_decision = draft.replace("…", limits)

check.l08_decide(my_decision)

# %% [markdown]
# ## Quick questions
#
# Choose an answer, and you are told about it at once.

# %%
beft_lib.quiz("08")

# %% [markdown]
# ## Recap
#
# - A file is refused or noted with its lines, never guessed at. Mend it once, and keep the mended one.
# - The number of validation examples, and the constant answer, bound what any method can show. Then come seeds, then methods.
# - The same model can be written with any $b_v$; importance changes, magnitude and Fisher do not. Each ruler has its convention.
# - Scores move with every setting. Some settings change the choice, and a tiny $\varepsilon$ can make a dead bias win.
# - How score and performance relate is a question to measure, with a rule that looks at nothing beside it.

# %% [markdown]
# ## Where next
#
# This was the last lesson. What you can do with it:
#
# - **Your data, one command:** `python -m beft_lib own yours.csv --text COLUMN --label COLUMN --save my-adapter`. Pairs, numbers, choices and free answers work, too
#   (`kind=`), and `validation=` takes a second file.
# - **Your model:** a row of the table (lesson 07), then `python -m beft_lib families`.
# - **The open question:** measure one more model (end of section 5), and send us the file.
# - **In a class:** `from beft_lib import pin`, then `pin(first, who="a name of yours")`. It writes one small file for the class board.
#
# The method and its stated limitation: Huang, Balashankar and Aminifar, *BEFT*, arXiv 2509.15974. Kendall's tau: M. G. Kendall, *A new measure of rank
# correlation*, Biometrika 30 (1938). Reporting with seeds and intervals: Dodge and others, *Show your work*, arXiv 1909.03004.
