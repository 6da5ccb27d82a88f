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
# # 06 · BEFT on OPT
#
# **The one idea:** a language model can be *asked*, *shown* or *tuned*. Moving its value biases, a few thousandths of a percent of a large
# model, is among the cheapest ways to tune it.
#
# **After this lesson you can**
#
# - put a task into words, and score a model's answers by hand;
# - predict what demonstrations change, and see what had to be left out to fit them in;
# - tune $b_v$ for a choice and for free answers, and count what it costs against LoRA, prefix tuning and full fine-tuning;
# - estimate the memory of a training step, and say what changes at 1.3 and 6.7 billion parameters;
# - say where a small model disagrees with the paper.
#
# **Time:** about 50 minutes with the exercises. The code itself runs for at most 1 minute in the profile `laptop`, 1 minute in `pocket`, on two CPU cores. (With a connection `laptop` first fetches the real OPT-125M, and takes longer; `HF_HUB_OFFLINE=1` keeps the small one.)
#
# **You need:** lessons 02 and 03. You should know what a loss and a learning rate are; lesson 05 helps, but is not needed.

# %%
beft_lib.start("06")

# %% [markdown]
# **OPT** is a family of language models that write on: given a text, they say how likely each next **token** is, a word or a piece of one.
# There is no head to train and no class 0 or 1. So how does such a model classify?

# %%
from collections import Counter

import pandas as pd
import torch

from beft_lib import PROMPTS, ask, describe_machine, fine_tune, load_model, load_task, load_tokenizer
from beft_lib import checks as check
from beft_lib import memory_plan, plots, plots_asking, score_answers, six_tasks
from beft_lib.answers import normalise_squad
from beft_lib.display import say, show
from beft_lib.widget_costs import cost_calculator
from beft_lib.widget_prompts import before_and_after, prompt_playground

# %% [markdown]
# ## 1. Your machine, and the plan
#
# Large models make you think about memory first. **Predict:** OPT-1.3B has 1.3 billion parameters. How many gigabytes are they in float32
# (four bytes a number), and in bfloat16 (two)?

# %%
print(describe_machine("facebook/opt-1.3b", "value"))

# %% [markdown]
# 5.3 and 2.6 gigabytes, before anything is computed. The lines above say what was found here (a GPU, or none), which number format the frozen
# model would be loaded in and why, and how many examples a step would then fit. What is *trained* is kept in float32, unless all of the model is:
# a small move would be lost in the rounding of 16 bits (lesson 01, section 5).
#
# Below, the profile decides which OPT you get. Where no large one can be had, it is **pocket-opt**: built like OPT, a thousand times
# smaller than OPT-1.3B, and pretrained for this course on a small made-up world. It knows who is in the hall and who has the red ball, and nothing else.

# %% [markdown]
# ## 2. A task in words
#
# Six tasks, as in the paper. In four the model chooses among given answers: *sst2* (pleased or not?), *rte* and *cb* (does one sentence
# follow from another? cb knows *maybe*), *wic* (does a word mean the same twice?). In *squad* and *drop*, questions on a text, it writes the answer itself. We take 200 training
# examples of each, and 56 for validation: that many the smallest of them, CB, has on the hub.

# %%
tasks = {name: load_task(name, prompted=True, n_train=200, n_validation=56) for name in PROMPTS}
model = load_model("opt", tasks["rte"])
tokenizer = load_tokenizer(model)
for task in tasks.values():
    print(f"{task.name:<6}{', '.join(map(repr, task.prompt.answers)) or 'free text'}")

# %% [markdown]
# Here is one example of RTE, as the data holds it and as the model reads it. The **prompt** is a template filled from the columns, and what
# follows it directly is the answer.

# %%
example = tasks["rte"].validation[0]
prompt = tasks["rte"].prompt.ask(example)
print(tasks["rte"].prompt.template)
print(prompt + tasks["rte"].prompt.answer(example))

# %% [markdown]
# The model reads numbers: each token has one. A special token opens every text.

# %%
ids = tokenizer(prompt)["input_ids"]
print(len(ids), "tokens:", " ".join(f"{tokenizer.decode([i])!r}={i}" for i in ids[:9]), "…")

# %% [markdown]
# ### The score of an answer
#
# Append an answer $a = a_1 \dots a_n$ to the prompt and let the model read both. At every place it gives a probability for each possible
# next token. The score of the answer is the mean log-probability of its tokens:
#
# $$ s(a) \;=\; \frac{1}{n} \sum_{t=1}^{n} \log p(a_t \mid \text{prompt},\, a_1 \dots a_{t-1}) $$
#
# The highest score wins. The mean, not the sum: otherwise "Maybe, I am not sure" would lose to "No" for being long.

# %%
answers = tasks["rte"].prompt.answers
rows = {}
for answer in answers:
    own = tokenizer(answer, add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        logits = model(torch.tensor([ids + own], device=model.device)).logits[0]  # (T, V)
    rows[answer] = (logits.float().cpu(), torch.tensor(ids + own))  # (T, V), (T,)
    print(repr(answer), "tokens", own, "logits", tuple(logits.shape))

# %% [markdown]
# ### Exercise 1: score an answer
#
# Write the formula: `logits` (T, V) and `ids` (T,) of prompt and answer together, and `n`, the number of tokens in the prompt. Mind that the
# logits at one place are about the *next* token. `.log_softmax(-1)` makes log-probabilities of logits, and `logp.gather(1, ids[:, None])`
# picks one number of each row.


# %% tags=["stub", "nbval-check-output"]
def answer_score(logits, ids, n):
    """(T, V), (T,), int -> one number"""
    return ...


check.l06_answer_score(answer_score)


# %% tags=["solution", "nbval-check-output"]
def answer_score(logits, ids, n):
    """(T, V), (T,), int -> one number"""
    logp = logits.log_softmax(-1)[n - 1 : -1]  # (answer, V): one place earlier
    return logp.gather(1, ids[n:, None]).mean()


check.l06_answer_score(answer_score)

# %% [markdown]
# The library scores many prompts at once. It reads each of them a single time for all its answers, and pads them on the left, so that they
# all end at the same place. None of that may change a score. The loop that we compare with is the plain formula:


# %% tags=["nbval-check-output"]
def plain(logits, ids, n):  # (T, V), (T,), int -> ()
    return torch.stack([logits[t - 1].log_softmax(-1)[ids[t]] for t in range(n, len(ids))]).mean()


by_hand = [plain(*rows[answer], len(ids)).item() for answer in answers]
library = score_answers(model, [prompt, "Read this first. " + prompt], answers)  # (2, answers)
print("scores are log-probabilities, below 0:", max(by_hand) < 0)
print("the library's are the same:", bool(abs(library[0] - by_hand).max() < 0.05))  # 0.05: for a base in 16 bits

# %% [markdown]
# ## 3. Asked: zero-shot
#
# Nothing is trained and nothing is shown. **Predict:** on which of the six tasks does a pretrained model beat guessing (one in two; in CB one in
# three)? Remember that pocket-opt has read many stories of its world with questions and answers, and a large OPT much of the web.

# %%
asked = {name: fine_tune(model, task, "zero_shot") for name, task in tasks.items()}
chance = plots_asking.chance(PROMPTS)
table = pd.DataFrame({name: {"zero-shot": run.score, "guessing": chance.get(name, 0.0)} for name, run in asked.items()})
show(table.T, "Zero-shot, 56 questions a task: accuracy; F1 for squad and drop")

# %% [markdown]
# One standard error is up to 0.07 here (lesson 03), so a few points above guessing are nothing. For the free answers, look at what it says:

# %%
squad = load_task("squad", prompted=True, n_train=200, n_validation=100)
few = squad.validation.select(range(8))
before = ask(model, squad, few).predictions
right = [labels[0] for labels in few["label"]]
show(pd.DataFrame({"question": few["question"], "right": right, "it says": before}), "SQuAD, zero-shot")

# %% [markdown]
# pocket-opt names the wrong person in most of these. But even a right answer scores low in a whole sentence, for SQuAD compares words: **precision** is the share of the words said that are right,
# **recall** the share of the right words that were said, and
#
# $$ F_1 = \frac{2\,P\,R}{P + R}. $$
#
# **Predict:** the right answer is "Tom", the model says "Tom has a black kite". Articles and punctuation are dropped first.

# %% tags=["nbval-check-output"]
said, gold = normalise_squad("Tom has a black kite.").split(), normalise_squad("Tom").split()
print(said, gold, "shared:", dict(Counter(said) & Counter(gold)))

# %% [markdown]
# ### Exercise 2: F1 over words
#
# Two lists of words in, one number out. A word that occurs twice on both sides is shared twice: `Counter(said) & Counter(right)` keeps the
# smaller count of each word.


# %% tags=["stub", "nbval-check-output"]
def word_f1(said, right):
    """list of words, list of words -> 0 to 1"""
    return ...


check.l06_word_f1(word_f1)


# %% tags=["solution", "nbval-check-output"]
def word_f1(said, right):
    """list of words, list of words -> 0 to 1"""
    shared = sum((Counter(said) & Counter(right)).values())
    if shared == 0:
        return 0.0
    precision, recall = shared / len(said), shared / len(right)
    return 2 * precision * recall / (precision + recall)


check.l06_word_f1(word_f1)

# %% [markdown]
# So "Tom has a black kite" scores 2 · ¼ · 1 / 1¼ = 0.4. The model may know the answer and not know *how to answer*. pocket-opt has
# read texts that answer in a word and texts that answer in whole sentences. Each of them keeps to one custom, and a single question does not
# say which is wanted.

# %% [markdown]
# ## 4. Shown: demonstrations
#
# We can tell it by example. Put a few solved training examples before the question and let the model go on in the same manner: this is
# **in-context learning**. No number of the model changes. The paper shows 32, drawn afresh for every question.
#
# A model reads a limited number of tokens, its **context**: 2,048 for OPT, 256 for pocket-opt. Demonstrations that do not fit are left out,
# the last drawn first, and the library says how many there really were.
#
# **Predict:** where will demonstrations help more, where the model lacks knowledge or where it lacks the form of the answer? And is more always
# better?

# %%
shown = {0: asked}
for shots in (1, 2, 4):
    shown[shots] = {name: fine_tune(model, task, f"in_context@{shots}") for name, task in tasks.items()}
scores = pd.DataFrame({k: {name: run.score for name, run in runs.items()} for k, runs in shown.items()}).T
counts = pd.DataFrame({k: {name: run.metrics.get("demonstrations", 0.0) for name, run in runs.items()}
                       for k, runs in shown.items()}).T  # fmt: skip
show(plots_asking.shots(scores, counts, n=56, chance=chance))

# %% [markdown]
# (Bars: one standard error. Dashed: guessing.) Where a line rises from 0 to 1, the form was missing, and a single example tells it. Where it stays flat below the
# ceiling, the model does not know the thing itself, and being shown others does not teach it. On pocket-opt no line clearly rises, and with four examples *wic*, *cb* and
# *squad* fall far: perhaps because it has read these very forms in pretraining, but one to three blocks to a text and never more, so that an example tells it
# little and makes the prompt strange. In the paper, with a
# large OPT, squad gains 15 points from 32 of them; RTE and WiC fall there, too.
#
# Demonstrations are free of training, not of cost: every question carries them along.

# %% [markdown]
# ### See a prompt, change it
#
# Run the cell below. (With the keyboard: Tab to a control; the space bar opens a list, the arrow keys choose, Enter takes. Without widgets
# you see the starting position as a picture.)

# %%
prompt_playground(model, tasks, task="cb", example=1, shots=1)

# %% [markdown]
# Things to try. **Predict** first.
#
# 1. Choose squad and no demonstration, then one: which answer gains, the short one or the long one?
# 2. Eight demonstrations: how many fit, and which went?
# 3. Choose SST-2. How far apart are the two answers, and does the distance tell when the model is wrong?
# 4. After section 5, come back and move a slider: the playground asks the model as it is *then*.

# %% [markdown]
# ## 5. Tuned: one bias
#
# Now we train. The loss is over the answer's tokens only; the prompt is given. For a choice, the scores of the answers go into one
# cross-entropy. Either way there is **no head**: what the pretrained model says *is* the starting point, and the move of the biases is all
# there is.
#
# ### Exercise 3: tune the key
#
# OPT has learned positions, which are added to the words before the first layer. We tune $b_k$ on SQuAD. Compared with zero-shot it will
#
# - `"a"`: give exactly the same answers,
# - `"b"`: be a little better, as "key" was for BERT when the head learned,
# - `"c"`: be about as good as $b_v$, with as many parameters,
# - `"d"`: be worse, since noise is all it can learn.

# %% tags=["stub", "nbval-check-output"]
my_prediction = ...
check.l06_key(my_prediction)

# %% tags=["solution", "nbval-check-output"]
my_prediction = "a"
check.l06_key(my_prediction)

# %% [markdown]
# Three ways, from the same start: $b_k$, LoRA, and $b_v$ last, so that the model holds it afterwards. **LoRA** adds to the query and value
# matrices a product of two thin ones. The paper takes 625 steps at a rate of 0.001; we take 75, and ten times that rate for the biases. (A
# minute at most; a bar shows the time left.)

# %%
runs = {"zero_shot": fine_tune(model, squad, "zero_shot"), "in_context@2": fine_tune(model, squad, "in_context@2")}
for method, rate in {"key": 1e-2, "lora": 1e-3, "value": 1e-2}.items():
    runs[method] = fine_tune(model, squad, method, epochs=3, learning_rate=rate)
show(plots.losses({name: runs[name] for name in ("key", "lora", "value")}))

# %% tags=["nbval-check-output"]
print("key answers exactly like zero-shot:", runs["key"].metrics == runs["zero_shot"].metrics)
print("value's loss fell:", runs["value"].losses[-10:].mean() < 0.9 * runs["value"].losses[:10].mean())
print("LoRA trains 32 times as much:", runs["lora"].counts.method == 32 * runs["value"].counts.method)

# %% [markdown]
# **Predict:** the picture shows F1 on 100 questions, and seconds of training. Is tuning better than two demonstrations? By how much would it
# have to be, with a standard error of up to 0.05?

# %%
show(plots.runs(list(runs.values())))

# %% [markdown]
# (Seconds jump when a machine has other work to do; a step of $b_k$ takes as long as one of $b_v$. And $b_k$'s loss, above, is zero-shot's: it moves with
# the batches only.) The seconds hide one cost: demonstrations make
# every question longer, for as long as the model is used. The file is what you would hand on.

# %%
cost = {
    name: {"trained": run.counts.method, "train, s": run.seconds, "answer 100, s": run.scoring_seconds,
           "file, kB": run.file_bytes / 1e3}
    for name, run in runs.items()
}  # fmt: skip
show(pd.DataFrame(cost).T.astype({"trained": int}), "What it costs")

# %% [markdown]
# ### Before and after
#
# The same eight questions. **Predict:** what has $b_v$ taught the model, facts or manners?

# %%
after = ask(model, squad, few).predictions
show(pd.DataFrame({"question": few["question"], "right": right, "before": before, "after": after}), "b_v, before and after")

# %% [markdown]
# Compare the last two columns row by row: how many answers changed in length, and how many from wrong to right? A constant added to the values
# of each layer can hardly store who has which ball. What it can do is push the model, in every context alike, towards the kind of answer
# that is wanted.
#
# Now in your own words. Change the text, ask about it, and see both answers. (pocket-opt knows a few hundred words, names such as Anna and Tom
# among them; it has to spell all others in letters, and the box says which.)

# %%
before_and_after(
    model,
    squad,
    title="Anna and Tom",
    context="Anna is in the hall. Tom has a red ball. He is a baker.",
    question="Who has the red ball?",
)

# %% [markdown]
# ## 6. Six tasks, and what they cost
#
# One task and one seed are an anecdote. The table has all six, five seeds, and for each method a learning rate that was chosen on a part of the
# training examples held out for it. Intervals are 95 %.

# %%
measured = six_tasks.measured()
show(six_tasks.table(measured), "Measured on pocket-opt: percent ± half the 95 % interval, and the cost of a run")

# %% [markdown]
# (`in_context` asks for 32 demonstrations, as the paper does, and gets what fits; `in_context@2` asks for two.) The paper's own numbers, on a
# large OPT with 1,000 training examples:

# %%
show(six_tasks.paper(), "The paper: percent, no interval given")
show(plots_asking.six_tasks(six_tasks.paper(), *six_tasks.scores(measured)))

# %% [markdown]
# In the paper $b_v$ is ahead of zero-shot everywhere, by 4 points on SST-2 and by more than 30 on CB and SQuAD. The three ways to tune (LoRA, prefix
# tuning and $b_v$) lie within four points of each other, on four of the six tasks within two. No interval is given, so do not read
# from it which of the three is ahead on a task. What it does say: the cheapest of them is about as good as the others.

# %% [markdown]
# ### Where a small model differs
#
# Levels of two models cannot be compared; *differences* between methods can. **Predict:** which of these four gaps will have the same sign on
# pocket-opt as in the paper, on most tasks?

# %%
show(six_tasks.gaps(measured).map("{:+.1f}".format), "Points by which one way is ahead of another")
say(six_tasks.told(measured).splitlines())

# %% [markdown]
# Three things to keep in mind while you read it, whatever the signs.
#
# - pocket-opt has read the six forms in pretraining, so zero-shot starts high on tasks such as SST-2, and there is little left to gain.
# - It has four layers of width 160: $b_v$ is 640 numbers, where OPT-6.7B has 131,072. A constant push can do less.
# - Its 256 tokens hold a handful of demonstrations, never 32.
#
# (The sentences under the table count a gap of ours only where its 95 % interval over the seeds leaves out zero. The paper gives none; where its gap is
# below two points, the order may be chance.)
#
# A disagreement is a result: it says that the paper's finding needs something that the small model lacks. Which of the three it is, you can
# test one at a time.

# %% [markdown]
# ## 7. Memory: what changes at 1.3B and 6.7B
#
# A training step holds the frozen weights; what is trained, with its gradient and Adam's two averages; the **activations** that the backward
# pass needs; and working space. **Predict:** $b_v$ and full fine-tuning of OPT-1.3B in bfloat16, 8 examples of 512 tokens: which of these
# parts makes the difference?

# %%
step = {"batch": 8, "length": 512, "dtype": torch.bfloat16}
show(plots_asking.memory(card=24, **step))

# %% [markdown]
# Full fine-tuning pays for gradient and Adam at every parameter, and the activations that each weight's gradient needs come on top. With
# $b_v$ that part is too thin to be drawn. But look at the rest: weights and activations stay. **Bias tuning does not make the model smaller.**
# The error still has to travel back through all layers, which is why its time falls by a third and not to a hundredth. These are
# estimates, part by part, from `beft_lib/planning.py`.
#
# The dashed line is a card of 24 GB. OPT-6.7B by $b_v$ just misses it. **Predict:** what does half the batch save? Halve it in the
# calculator (you know it from lesson 05), and see.

# %%
cost_calculator("opt-6.7b", "value", batch=8, length=512)

# %%
show(plots_asking.shape_table(), "Parameters: the model's, and those that a method trains")

# %% [markdown]
# The share of $b_v$ shrinks as the model grows: the biases grow with the width $d$, the weights with its square. At 6.7 billion it is two
# thousandths of a percent. The *ratios* between the methods stay: they do not depend on the model at all.
#
# ### Exercise 4: count
#
# OPT-6.7B has 32 layers of width 4,096. How many numbers are trained by $b_v$; by LoRA with rank 8 on query and value (each gets two matrices
# of 8 · d); by a prefix of 5 tokens (a key and a value each, in every layer)? The table above has the answers; find the formulas that give them.

# %% tags=["stub", "nbval-check-output"]
my_counts = [..., ..., ...]

check.l06_counts(my_counts)

# %% tags=["solution", "nbval-check-output"]
L, d = 32, 4096
my_counts = [L * d, L * 2 * 2 * 8 * d, L * 2 * 5 * d]

check.l06_counts(my_counts)

# %% [markdown]
# Which model fits your own machine, then? A step of eight examples of 512 tokens (on a CPU in float32, so about twice the bars above), and the
# largest batch:

# %%
plan = memory_plan(methods=("value", "full"))
show(plan.set_index(["model", "method"]), "Here: gigabytes of a step, and the largest batch")

# %% [markdown]
# What else changes with size? On one GPU the frozen base is loaded in 16 bits, and a model larger than the card is spread over several with
# `device_map="auto"` (one after the other computes), or cut into pieces by `accelerate launch … tune --fsdp` (all compute at once). `fine_tune(..., checkpointing=True)` computes activations again in the backward pass instead of keeping them: less memory,
# for one more forward pass a step. The calls of this lesson stay the same: `load_model("facebook/opt-6.7b", task)` takes the place of
# `load_model("opt", task)`.

# %% [markdown]
# ## Quick questions
#
# Choose an answer, and you are told about it at once.

# %%
beft_lib.quiz("06")

# %% [markdown]
# ## Recap
#
# - A language model classifies by the mean log-probability of each answer after a prompt. There is no head, so "head only" is zero-shot.
# - Demonstrations can tell the form of an answer. pocket-opt has read the forms, and gains nothing. They cost at every question and have to fit the
#   context.
# - $b_v$ trains L · d numbers, 32 times fewer than LoRA with rank 8 and 10 times fewer than a prefix of 5. On pocket-opt LoRA scored 3 to 5 points
#   more on wic, squad and drop. $b_k$ does nothing in OPT.
# - Memory that is saved is gradient, Adam and the activations of trained weights. The frozen weights stay.
# - Compare gaps, not levels, between a small model and the paper, and only where there are seeds and intervals.

# %% [markdown]
# ## Where next
#
# - **07 Any Transformer:** models with fused, rotary or no biases, where a $b_v$ can be added and folded away.
# - **08 Your own task:** a table of yours in, an adapter out.
# - To try now: `fine_tune(model, tasks["cb"], "value")` with the paper's own rate, or `"value@top-half"`, which is cheaper still.
#
# OPT is by Zhang and others (arXiv 2205.01068), LoRA by Hu and others (arXiv 2106.09685), prefix tuning by Li and Liang (arXiv 2101.00190);
# the prompts are those of MeZO (arXiv 2305.17333), as in BEFT's own code.
