# %% [markdown]
# # 00 · Start here
#
# **After this lesson you can**
#
# - tell what your machine will use in this course, and what to do when something is missing;
# - run, stop and reset a notebook without losing your way;
# - describe in three sentences what BEFT does;
# - choose a bias of a real pretrained model and tune only that one, in ten lines;
# - say how much of a difference between two results can be luck.
#
# **Time:** about 20 minutes. The code itself runs for at most 2 minutes in the profile `laptop`, 1 minute in `pocket`, on two CPU cores (section 1 says what a profile is).
#
# **You need:** a little Python. If you have trained one small neural network before, you know enough.

# %% [markdown]
# ## 1. Your machine
#
# Every lesson begins with the same grey cell, the next one that holds code. Click on it and press **Shift+Enter**: that runs a cell and moves on to the next.

# %%
beft_lib.start("00")

# %% [markdown]
# The first line of the answer names your **profile**. A profile says which models and data the lessons use on this machine: a laptop
# gets a small but real BERT and data that ship with the course, a large GPU gets the models of the paper. It is chosen
# for you, and the line says why. The lessons are the same in every profile; only the numbers differ.

# %% [markdown]
# Next, a short check of what this lesson needs. Each line says **OK** or **FAIL**, and after a FAIL it says how to mend it. (The long
# version is `python -m beft_lib doctor`, in a terminal.)

# %%
from beft_lib.doctor import diagnose

needed = ("device", "memory", "profile", "model 'bert'")
for finding in diagnose():
    if finding.what in needed:
        print(finding)

# %% [markdown]
# ## 2. How to use a notebook
#
# - **Shift+Enter** runs a cell. While it runs, `[*]` stands beside it; when it is done, a number that counts up.
# - **Run cells in order**, from the top. A cell may need what an earlier one made, and most errors called `NameError` mean that one
#   was skipped.
# - **To stop** a cell that takes too long, press the ■ button (or the key `I` twice). In this course that breaks nothing. A probe
#   returns what it saw so far; any other training ends with `KeyboardInterrupt` and no result: run its cell again, and it starts from the
#   pretrained model.
# - **To start over**, choose *Kernel > Restart Kernel and Run All Cells*. All results are made anew; what you wrote into the cells stays.
# - **If the connection breaks**, open the notebook again: it is saved every two minutes. What was computed may be gone (a `NameError` says
#   so); then select the cell where you were and choose *Run > Run All Above Selected Cell*. The same numbers come out again.
# - **Change things.** You cannot break anything that a restart does not mend. A fresh copy of all lessons comes from
#   `python -m beft_lib lessons --to another-folder`.

# %% [markdown]
# Three habits run through all lessons.
#
# **Predict.** Before a result you are asked to guess it. Do it, on paper if you like: a guess that turns out wrong teaches more than
# a result that you only read.
#
# **Check.** Exercises have a check that answers at once. Try the first one now: run the cell as it is, and see what it says.
#
# **Doubt.** Where a number rests on one run or on few examples, the lesson says so, and you should hold it to that.

# %% [markdown]
# ### Exercise 1: wake up the checks
#
# A layer computes `y = W x + b`, where `x` has 384 numbers and `y` has 384 as well. How many numbers does the **bias** `b` have?
# Replace the three dots.

# %% tags=["stub", "nbval-check-output"]
from beft_lib import checks as check

numbers_in_b = ...

check.l00_bias_size(numbers_in_b)

# %% tags=["solution", "nbval-check-output"]
from beft_lib import checks as check

numbers_in_b = 384  # one for each number of y

check.l00_bias_size(numbers_in_b)

# %% [markdown]
# ## 3. The idea
#
# A pretrained language model such as BERT knows a lot about language, but not what you want from it. **Fine-tuning** trains it a little
# further on examples of your task. Usually all its parameters are trained: a hundred million for BERT, billions for
# larger models.
#
# Much less can be enough. Inside every layer of a Transformer there is *attention*, which computes **queries**, **keys** and **values** from its
# input, each by a matrix and, in BERT, a **bias**: a vector that is added, whatever the input is. A model has more biases than these three,
# all of them together a tiny part of it, and it has been known since 2021 that training only biases works surprisingly well.

# %% [markdown]
# BEFT goes one step further. It asks *which* of the three biases is worth training:
#
# 1. Train all three for a short while. This is called a **probe**.
# 2. Measure how far each one moved, in angle and in length, as one number: its **importance**.
# 3. Go back to the pretrained model, and fine-tune only the one that moved most.
#
# That is the whole method. The rest of this course is about what the number means, why it should work, where it does not, and what
# it costs.

# %% [markdown]
# ## 4. BEFT in ten lines
#
# The task is *sst2*: short sentences about films, books, apps or dinners, each with a positive or a negative opinion. The model gets a fresh
# output layer, the **head**, which turns what it has read into two numbers (called *logits*), one for each answer.
#
# In the profile `laptop` the model is MiniLM, a small relative of BERT with 23 million parameters. The task has the name and the form of
# SST-2, but its sentences were written for this course (*mini*), so that they can be shipped: do not compare scores with published
# ones. *low* is the smallest of the paper's three sizes; for SST-2 that is 1,000 sentences, and mini has 300, so we take all of them.

# %%
from beft_lib import find_biases, fine_tune, load_model, load_task, probe
from beft_lib.display import show

task = load_task("sst2")
model = load_model("bert", task)
print(task)
print(task.train[0])

# %% [markdown]
# Here are the three biases. A model has one of each in every layer, so each line stands for as many vectors as there are layers. In
# parentheses is how many numbers one vector has. All query biases together, one from each layer, we call one bias **term**.

# %%
biases = find_biases(model)
for term in biases.values():
    print(term)

# %% [markdown]
# **Predict:** which part of the model's parameters belongs to one of these terms, say the value biases: a tenth, a hundredth, a
# thousandth, or less?

# %%
in_one_term = biases["value"].values().numel()  # layers × width
in_the_model = sum(parameter.numel() for parameter in model.parameters())
print(f"{in_one_term:,} of {in_the_model:,}: one in {in_the_model // in_one_term:,}")

# %% tags=["nbval-check-output"]
print("less than one in a thousand:", in_one_term < in_the_model / 1000)

# %% [markdown]
# ### The probe
#
# Now train all three terms together, with the head, for sixty steps. At every step the model reads sixteen sentences, compares its answers
# with the right ones, and moves a little in the direction that would have made them better. (About twenty seconds. A bar
# shows how far it is.)
#
# **Predict:** which bias will move most: query, key or value? And will one of them not move at all?

# %%
result = probe(model, task, max_steps=60)
print(result)

# %% [markdown]
# Read the picture like a map. A row is a layer of the model, a column one of the three terms, and the number in a field says how far that
# bias has moved: 0 is not at all, 0.5 would be halved or doubled, 1 turned by a right angle.

# %%
show(result.plot())

# %% [markdown]
# Two things stand out, and they will follow you through the course. The three terms differ by a lot. And the key bias has not moved to
# speak of: lesson 02 proves that in this kind of model it *cannot* matter.
#
# The scores look small because the training was short. What counts for the choice is their order.

# %% [markdown]
# ### Tune only the choice
#
# `result.best` is the name of the term that moved most. `fine_tune` goes back to the pretrained model by itself, trains that term and the head, and
# measures how many sentences of the *validation* set, which it has never seen, it gets right.
#
# The **learning rate** says how large the steps are. Left alone, it is the paper's for this task. We take five times as much, because we
# take only 150 steps. (Half a minute or so.)

# %%
rate = 2e-3
chosen = fine_tune(model, task, method=result.best, epochs=8, learning_rate=rate)
print(chosen)

# %% [markdown]
# Is that good? A number alone does not say. The honest thing to compare with is a run that trains **the head only** and leaves the whole
# pretrained model as it is: the same data, the same number of steps, the same seed. (Half a minute or so.)
#
# **Predict:** how far below will it be? Or above?

# %%
head_only = fine_tune(model, task, method="head", epochs=8, learning_rate=rate)
print(head_only)

# %% [markdown]
# Both runs side by side. (Seconds depend on what else the machine does: compare them only within one quiet sitting. Lesson 05 counts the
# cost properly.)

# %%
import pandas as pd

runs = {"chosen bias + head": chosen, "head only": head_only}
table = pd.DataFrame({"accuracy": {name: run.score for name, run in runs.items()}})
table["numbers trained"] = [run.counts.method + run.counts.head for run in runs.values()]
table["seconds"] = [run.seconds for run in runs.values()]
show(table, f"Validation on {len(task.validation)} examples, one seed")

# %% [markdown]
# ## 5. How much of it is luck?
#
# The validation set is small. Think of each sentence as a coin that comes up "right" with probability $p$. Then the share of right answers
# among $n$ sentences varies from one draw of sentences to the next, and its spread, the **standard error**, is
#
# $$ s = \sqrt{p\,(1-p)\,/\,n} $$
#
# As a rule of thumb, a result is known to about two standard errors on either side.

# %% [markdown]
# ### Exercise 2: the standard error
#
# A model gets 80 percent right on 200 sentences. What is its standard error? Give a number such as 0.05. (You can compute with Python: a square
# root is `** 0.5`.)

# %% tags=["stub", "nbval-check-output"]
standard_error = ...

check.l00_standard_error(standard_error)

# %% tags=["solution", "nbval-check-output"]
standard_error = (0.8 * (1 - 0.8) / 200) ** 0.5

check.l00_standard_error(standard_error)

# %% [markdown]
# Now look at the two results above again with that in mind.
#
# **Predict:** is the difference larger than two standard errors *of a difference*? (Both results are uncertain. For two independent ones it
# is $\sqrt 2$, about 1.4 times, as large as that of one.)

# %%
p, n = chosen.score, len(task.validation)
error = (p * (1 - p) / n) ** 0.5
difference = chosen.score - head_only.score
print(f"difference {difference:+.3f}, its standard error about {error * 2**0.5:.3f} (of one result {error:.3f})")

# %% [markdown]
# With MiniLM, no: it is less than *one* standard error. (Both models were asked the same sentences, so the standard error is really somewhat
# smaller; lesson 08 pairs them.)
#
# Sentences are not the only source of chance. The head starts from random numbers, and the batches come in a random order; both are set by
# a **seed**. Another seed gives another result, and it can differ by as much as the methods do. This is why the later lessons
# use several seeds and show intervals, and why nothing in this lesson proves that one method is better than the other. It
# only shows you how the parts fit together.

# %% [markdown]
# ## 6. What the course does
#
# | lesson | the one idea |
# |---|---|
# | 01 · The importance formula | angle and length in one number; vectors to drag |
# | 02 · Inside attention | what the three biases can do at all |
# | 03 · Training a probe | watching the scores grow; how short a probe still chooses the same |
# | 04 · Magnitude and Fisher | three ways to measure, honestly compared |
# | 05 · BEFT on BERT | value, random, all biases, everything: performance and cost |
# | 06 · BEFT on OPT | language models that write |
# | 07 · Any Transformer | other layouts; models without biases |
# | 08 · Your own task | your data in, your adapter out |
# | appendix · The pocket world | the small language behind the profile `pocket` |
#
# Solutions to all exercises are in the folder `solutions`.

# %% [markdown]
# ## Quick questions
#
# Choose an answer, and you are told about it at once.

# %%
beft_lib.quiz("00")

# %% [markdown]
# ## Recap
#
# - A profile decides which model and data your machine uses; the lessons are the same everywhere.
# - BEFT trains the three attention biases together for a short while, and keeps the one that moved most.
# - Then it fine-tunes only that term (and the head), from the pretrained model.
# - The head-only run is the line to beat, and a result on 200 sentences is known to six or seven points only.

# %% [markdown]
# ## Where next
#
# **01 · The importance formula** opens the number that made the choice, and lets you drag its vectors. If you would rather see training first, go to
# **03 · Training a probe** and come back later.
#
# BEFT is by Huang, Balashankar and Aminifar (arXiv 2509.15974). That training only biases can work was shown by BitFit (Ben Zaken, Ravfogel
# and Goldberg, arXiv 2106.10199).
