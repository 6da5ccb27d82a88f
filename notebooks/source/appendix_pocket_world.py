# %% [markdown]
# # Appendix · The pocket world
#
# **The one idea:** in a world whose rules we wrote ourselves, we know how much can be known. So we can say how good a language model
# is, and not only that it is better than another.
#
# **After this lesson you can**
#
# - compute the information in a text from the choices that made it;
# - say what the entropy of a language is, and why no loss can go below it;
# - read a pretraining curve against that line;
# - tell what a pretrained model knows before anybody tunes it, and find out what it does not.
#
# **Time:** about 30 minutes with the exercises. The code itself runs for less than a minute on two CPU cores.
#
# **You need:** logarithms, and lesson 00. If you have met "loss" before, better still. No other lesson needs this one.

# %%
beft_lib.start("appendix")

# %% [markdown]
# The course ships a few small models for machines with no network and no GPU: **pocket-bert**, **pocket-opt** and their relatives. They
# have learned a language of our own making: plain English words, some dozens of frames of sentences, and rules for what is true. This
# lesson looks at that language and at what the models made of it. It uses the pocket models in every profile.

# %%
import json
from math import exp, log

import pandas as pd
import torch

from beft_lib import checks as check
from beft_lib import fine_tune, load_model, load_task, load_tokenizer
from beft_lib.display import show
from beft_lib.places import data_folder
from beft_lib.pocket.chooser import Chooser
from beft_lib.pocket.sentences import render
from beft_lib.pocket.texts import KINDS, write_text

# %% [markdown]
# ## 1. A text is a list of choices
#
# Our grammar writes a text by choosing: a name among sixteen, a room among eight, one way of saying it or another. Every
# choice goes through one small object, the `Chooser`, and the chooser keeps the probability of each. Here is a grammar for one sentence.


# %%
def where(c):
    """One sentence: who is where"""
    name = c.pick(["anna", "mary", "ben", "tom"])
    verb = c.pick(["is", "stays"])
    return f"{name} {verb} in the {c.pick(['hall', 'park'], (0.75, 0.25))} ."


for seed in range(4, 9):
    c = Chooser(seed)
    print(f"{render(where(c)):<26} probability {exp(c.logp):.4f}   choices {c.taken}")

# %% [markdown]
# Choices multiply: a name among four, a verb among two, a hall with probability .75 make
# $\tfrac14 \cdot \tfrac12 \cdot \tfrac34 \approx 0.094$. Products of many small numbers are unhandy, so one takes logarithms, and they
# add. The **information** in a text is
#
# $$ I(\text{text}) \;=\; -\ln p(\text{text}) \;=\; -\sum_{\text{choices}} \ln p(\text{choice}) \qquad\text{in nats.} $$
#
# (A nat is to the natural logarithm what a bit is to the one with base 2: 1 nat is 1.44 bits.) A choice that could not have gone
# another way has probability 1, and costs nothing.

# %% [markdown]
# ### Exercise 1: the information in a sentence
#
# In the real pocket world a sentence such as *Anna stays in the hall.* takes a name among 16, a verb among 2 and a room among 8, all
# equally likely. How many nats is that? (`log` is the natural logarithm.)

# %% tags=["stub", "nbval-check-output"]
my_nats = ...

check.a_sentence(my_nats)

# %% tags=["solution", "nbval-check-output"]
my_nats = log(16) + log(2) + log(8)  # the words "in", "the" and the full stop are no choices

check.a_sentence(my_nats)

# %% [markdown]
# ## 2. Whole texts
#
# A corpus of such sentences would teach a model little. So a text of the pocket world holds together: one mood, one cast of
# people, one set of facts, and often a question about them and its answer. There are several kinds, some more frequent than others.

# %%
for kind in ("review", "recap", "asked_claims"):
    print(f"--- {kind}\n{render(write_text(Chooser('appendix/2'), kind))}\n")

# %%
share = pd.DataFrame({"percent of the texts": {kind: 100 * weight for kind, (_, weight) in KINDS.items()}})
show(share.rename_axis("kind"), "What the corpus is made of")

# %% [markdown]
# Look at what each kind asks of a reader. The verdict at the end of a *review* follows from its mood. In a *recap* the second half
# can be looked up in the first: to learn this is to learn how to look things up. Prompts such as "Does this mean that …" have the very
# form in which later lessons ask for an answer. So what the tasks need is in the running text, as it is in real corpora, but never as
# a lesson with a label.

# %% [markdown]
# ### What each word costs
#
# Take the recap. The grammar knows every choice that made it. We charge each choice to the first word that would have been another
# one, had the choice gone another way.
#
# **Predict**, before you look: which words of the recap printed above cost nothing at all? Is there a pattern to the second half?

# %%
from beft_lib.pocket.entropy import charged

text_seed, kind = "appendix/2", "recap"
words, world = charged(text_seed, kind)  # T words; T + 1 numbers, the last one for the end of the text
print(" ".join(word if not nats else f"{word}[{nats:.1f}]" for word, nats in zip(words, world)))

# %% tags=["nbval-check-output"]
c = Chooser(text_seed)
write_text(c, kind)
print("the charges sum to the information in the text:", abs(sum(world) + c.logp) < 1e-9)
print("more than half of the words are free:", sum(nats == 0 for nats in world) > len(words) / 2)

# %% [markdown]
# Many small words are free. Where *is* decides what is told of somebody, it is charged. A name costs about $\ln 16$, and often more, since other
# choices show in it as well (that there is a third person at all). What somebody is doing costs $\ln 6$, and less for the next person, since nobody
# does what another does. And in the second half, after
# *so*, the values cost nothing, since they were said before, or very little: what is left to choose is whom to tell of, and which of two
# things that are known of somebody. A reader who cannot look things up pays for every value a second time.

# %% [markdown]
# ## 3. The entropy: a floor under the loss
#
# The **entropy** of a language is the mean of this information over its texts. Divided by the mean number of tokens (words, marks, and one
# "end of text" each), it is a number of nats per token:
#
# $$ H \;=\; \frac{\mathbb{E}\,[\,-\ln p(\text{text})\,]}{\mathbb{E}\,[\,\text{tokens}\,]} $$
#
# The **loss** of a language model is the same thing with the model's own probability $q$ in place of the true $p$. Nobody's $q$ can
# be better than $p$ on average (this is Gibbs' inequality), so $H$ is a floor. For English it is unknown. For our world it is a loop:

# %%
from beft_lib.pocket.entropy import information

found = information("validation", 300)  # the very texts on which the models were validated
print(f"{found.texts} texts, {found.tokens:,} tokens, {found.nats:,.0f} nats: {found.per_token:.3f} nats per token")

# %% [markdown]
# **How exact is that?** The choices determine the text. The text nearly determines the choices: here and there two lists of choices give
# the same text, which makes the text a little likelier than one list says. So our number is a hair too high. A test of this course finds
# the difference to be below a hundredth of a nat per token.

# %% [markdown]
# ### Exercise 2: a floor
#
# In another small language every text has 20 tokens. Four of them are drawn, each from 8 equally likely words, and the other 16 follow from
# what came before. What is the least mean loss, in nats per token, that any model can reach?

# %% tags=["stub", "nbval-check-output"]
my_floor = ...

check.a_floor(my_floor)

# %% tags=["solution", "nbval-check-output"]
my_floor = 4 * log(8) / 20  # sixteen tokens cost nothing

check.a_floor(my_floor)

# %% [markdown]
# ### The curve against the floor
#
# With every shipped model comes the record of its pretraining, `pretraining.json`.
#
# **Predict:** the loss of *pocket-opt* begins at $\ln$ of its vocabulary, when every token is as likely as any other. Will it come
# down evenly? Where will it be at the end, compared with the floor?

# %%
folder = data_folder() / "models" / "pocket-opt"
record = json.loads((folder / "pretraining.json").read_text(encoding="utf-8"))
minutes, tokens = record["seconds"] / 60, record["train_tokens"]
print(f"{record['parameters']:,} parameters, {tokens:,} tokens, {minutes:.0f} minutes on {record['machine']}")

# %%
from beft_lib.pocket.pictures import costs, learning_curve
from beft_lib.pocket.tokenizer import vocabulary

show(learning_curve(record["log"], found.per_token, "pocket-opt", len(vocabulary("opt"))))

# %% tags=["nbval-check-output"]
validation = [entry["eval_loss"] for entry in record["log"] if "eval_loss" in entry]
print("it begins far above the floor:", validation[0] > 1.5 * found.per_token)
print("it is never more than 2 percent below the floor (300 texts have luck, too):", min(validation) > 0.98 * found.per_token)
print("it ends within a tenth of it:", validation[-1] < 1.1 * found.per_token)
print("it has been lower before:", min(validation) < validation[-1])

# %% [markdown]
# It is not even. What comes first is how often each word occurs, and which word follows which. What comes late, if it comes, is looking
# things up, and with that the facts. And there is a kink: the first part of pretraining reads recaps only, which teach that one skill.
# While it lasts, the validation texts, which are of all kinds, surprise the model more than they would surprise one that knows
# nothing. Where the other kinds begin, the training loss jumps up and the validation loss falls. The later kinks are the beginnings of
# the second round (short questions, claims that are checked, sums that are worked out) and of the third (the tasks' own forms). None of
# these stand in the validation texts, whose loss comes back after the second round, and after the third stays a little higher.

# %% [markdown]
# ## 4. Where the model pays
#
# A mean hides a lot. So we let the model read the recap from above, and put what it pays for each token, $-\ln q$, beside what the world
# charged.
#
# **Predict:** where will the two differ most: on the names, on the values in the first half, or on those in the second?

# %%
model = load_model("pocket-opt", load_task("rte", data="pocket", prompted=True)).eval()
tokenizer = load_tokenizer(model)


@torch.no_grad()
def paid(text):
    """What the model pays for each token of a text and for its end: (T + 1,) nats"""
    ids = tokenizer(text, return_tensors="pt")["input_ids"]  # (1, T + 1), it opens with </s>
    ids = torch.cat([ids, ids[:, :1]], dim=1)  # … and ends with it
    logp = model(input_ids=ids[:, :-1]).logits[0].log_softmax(-1)  # (T + 1, V)
    return -logp.gather(1, ids[0, 1:, None])[:, 0]  # (T + 1,)


bill = paid(render(" ".join(words)))
print("one number for each word and the end:", len(bill) == len(words) + 1)

# %%
show(costs([*words, "end"], world, bill.tolist()))

# %% tags=["nbval-check-output"]
bill_of = pd.DataFrame({"world": world, "model": bill.tolist()})
free, charged_for = bill_of[bill_of.world == 0], bill_of[bill_of.world > 0]
print("the model pays less where the world charges nothing:", free.model.mean() < 0.5 * charged_for.model.mean())

# %% [markdown]
# On a single text the model can be lucky and pay a little less than the world charges for one word: it had guessed the name that
# came. On average it cannot. Where its bar stands well above the world's, there is something in the text that it has not learned to use.
# Change `text_seed` and `kind` in section 2 (the names of the kinds are in the table) and run on from there, to see it at other work.

# %% [markdown]
# ## 5. What it knows before any tuning
#
# Nobody has tuned this model on a task. We can only let it write on.
#
# **Predict:** how does it go on after each of these?

# %%
from beft_lib.prompting import complete

beginnings = [
    "The music was lovely. Anna loved the story. It was",
    "The food was cold and dull. Tom hated the end. It was",
    "Kate stays in the garden. Omar has a red kite. So Omar has a",
    "Passage: Ben has 3 pears. Lucy has 2 pears.\nQuestion: Who has more pears, Ben or Lucy?\nAnswer:",
]
for beginning, said in zip(beginnings, complete(model, beginnings, stop="\n", max_new=12)):
    print(f"{beginning}\n    … {said}\n")

# %% [markdown]
# The last answer has the form, and the comparison is wrong. Now by numbers. **Zero-shot** means: put the example into words, let the model score the possible answers, take the likeliest. Nothing is
# trained. We ask 200 examples of three tasks, in the library's prompts.
#
# **Predict:** on which of the three will it be best? *sst2* asks for the mood of a sentence, *rte* whether a claim follows from a
# story, *wic* whether a word means the same in two sentences.

# %%
scores = {}
for name in ("sst2", "rte", "wic"):
    asked = load_task(name, data="pocket", n_validation=200, prompted=True)
    scores[name] = {"zero-shot": 100 * fine_tune(model, asked, "zero_shot").score, "by guessing": 50.0}
show(pd.DataFrame(scores).T.rename_axis("task"), "Right answers in percent, nothing tuned")

# %% tags=["nbval-check-output"]
print("sst2 without any tuning above 80 percent:", scores["sst2"]["zero-shot"] > 80)

# %% [markdown]
# Verdicts stand in the running text, so their words are in the right place before anybody trains on *sst2*. What such a model needs
# is not the skill but the question; this is why tuning a few thousand biases can be enough.
#
# And a number near 50? It can mean two things: the model lacks the skill, or this question does not bring it out. We put the claim in
# the short form that also stands in the running text. **Predict:** which of the two is it on *rte*?

# %%
told = "Kate is in the garden. Omar is in the hall."
for claim in ("Kate is in the garden.", "Kate is in the hall.", "Omar is in the garden.", "Omar is in the hall."):
    print(f"{claim} That is … {complete(model, [f'{told} {claim} That is'], max_new=1)[0]}")

# %% [markdown]
# It has the skill. In the long prompt the answer stands ten tokens after the claim, and there the model does not find it, although it has read
# many texts of that very form. So a score without tuning is a lower bound of what a model knows.

# %% [markdown]
# ### A word looked up
#
# An encoder does not write on: it fills gaps. Here *pocket-bert* has to fill one that only looking up can fill, since all rooms
# fit the sentence.
#
# **Predict:** which rooms will it hold for likely?

# %%
from transformers import AutoModelForMaskedLM

encoder = AutoModelForMaskedLM.from_pretrained(data_folder() / "models" / "pocket-bert").eval()
reader = load_tokenizer(load_model("pocket-bert", load_task("rte", data="pocket")))


@torch.no_grad()
def gap(text, n=3):
    """The n likeliest words at [MASK], with their probabilities"""
    inputs = reader(text, return_tensors="pt")
    at = (inputs["input_ids"][0] == reader.mask_token_id).nonzero()[0, 0]
    top = encoder(**inputs).logits[0, at].softmax(-1).topk(n)  # (V,) -> n of them
    return {reader.decode([i]): round(p, 3) for p, i in zip(top.values.tolist(), top.indices.tolist())}


story = "Kate is in the garden. Omar is in the hall. So"
for text in (f"{story} Kate is in the [MASK].", f"{story} Omar is in the [MASK].", "Kate is in the [MASK]."):
    print(f"{text}\n    {gap(text)}")

# %% tags=["nbval-check-output"]
from beft_lib.pocket.words import ROOMS

print("without a story, a room comes first:", set(gap("Kate is in the [MASK].", 1)) <= set(ROOMS))

# %% [markdown]
# In the last sentence nothing was said before, so the best that any model can do is one in eight for each room. In the others the room
# is certain for whoever looks it up: *garden* for Kate, *hall* for Omar. What pocket-bert does with it you see above. A model that puts both
# rooms of the story first, and the same one for both people, has learned that rooms come again, and not whose is whose.

# %% [markdown]
# ### A step in between
#
# To say whether a claim is true takes two steps: look up what was said, then compare. After the first round of their pretraining, pocket-bert
# and pocket-roberta knew which values had been told, and yet called claims true or false by the toss of a coin. What helped was a second round, with texts that
# *say* the step in between, half of the time.
#
# **Predict:** which of the two forms below will be judged better? And why does it matter that both are in the corpus?

# %%
from beft_lib.pocket.stones import checked

for seed in (1, 7, 0, 9):
    print(render(checked(Chooser(f"appendix/{seed}"))), "\n")

# %%
written = [checked(Chooser(f"judged/{seed}")) for seed in range(300)]
forms = {"with the step": [text for text in written if " , so that is" in text[-30:]]}
forms["without"] = [text for text in written if text not in forms["with the step"]]


@torch.no_grad()
def judged(name, texts):
    """Share of texts, percent, whose last word (true or false) is the likelier of the two where it is hidden"""
    encoder = AutoModelForMaskedLM.from_pretrained(data_folder() / "models" / name).eval()
    reader = load_tokenizer(load_model(name, load_task("rte", data="pocket")))
    true, false = reader.convert_tokens_to_ids(["true", "false"])
    right = 0
    for text in texts:
        start, verdict = text.removesuffix(" .").rsplit(" ", 1)
        inputs = reader(f"{render(start)} {reader.mask_token}.", return_tensors="pt")
        at = inputs["input_ids"][0] == reader.mask_token_id
        logits = encoder(**inputs).logits[0, at][0]  # (V,)
        right += (logits[true] > logits[false]).item() == (verdict == "true")
    return 100 * right / len(texts)


table = {name: {form: judged(name, texts) for form, texts in forms.items()} for name in ("pocket-bert", "pocket-roberta")}
show(pd.DataFrame(table).rename_axis("the claim is judged"), "Right verdicts in percent, nothing tuned; guessing: 50")

# %% [markdown]
# pocket-roberta uses the step; pocket-bert is no better with it than without (one standard error is about three points). A model that has learned
# the comparison where both halves stand in plain sight has something to reach for where they do not. Large
# language models write down their steps for the same reason. But look twice at the second line before you call it understanding. There is
# a shortcut: a value that nobody in the story has makes a claim false, and to see that takes no name. About a third of these stories have
# one person, and there the shortcut is always right; with two or three people it is right three times in four. Together that is five in six.
# Only a line well above *that* would say that the model knows whose value it is. The gaps above ask the same of it more directly.

# %% [markdown]
# ## 6. What it does not know
#
# **Predict:** what does the tokenizer make of a word that the world does not have? And what does the model say about Paris?

# %%
for sentence in ("Anna is in the garden.", "The weather in Paris is splendid."):
    print(tokenizer.tokenize(sentence))
beginning = "Paris is the capital of"
print(beginning, "…", complete(model, [beginning], max_new=8)[0])

# %% tags=["nbval-check-output"]
known = tokenizer.tokenize("Anna is in the garden.")
foreign = tokenizer.tokenize("The weather in Paris is splendid.")
print("one token a word where the world has them all:", len(known) == 6)
print("words from elsewhere are spelt:", len(foreign) > 15)

# %% [markdown]
# Whatever it says there says nothing about Paris. A few hundred words, a few dozen frames, no noise in the labels and one author: the
# pocket world is good for seeing how a method works, exactly and in seconds. What a method is *worth* on real language has to be
# seen on real language, which is why the other profiles exist. One claim of the course rests mostly on the pocket world: which ruler picks the best term
# (lessons 04 and 08). It took hundreds of trainings, and only these models are quick enough for that. Read it with this in mind.

# %% [markdown]
# ### What was aimed at, and what was reached
#
# A world can fail: tasks that even full fine-tuning cannot learn, or that a random model learns as well as a pretrained one. So its targets
# were written down before the models were trained. This table reads what was measured since (`python -m beft_lib pocket table` measures
# it again).

# %%
from beft_lib.pocket.targets import read_figures, targets

models = data_folder() / "models"
aims = pd.DataFrame([target.row() for target in targets(read_figures(models), models)]).set_index("figure")
show(aims[aims["met"] != "not measured"], "Targets of the pocket world")
print("not measured yet:", (aims["met"] == "not measured").sum())

# %% [markdown]
# (The entropy there is that of other texts, every kind by its share.) Where it says NO, the target was missed, and that is what a learner should know about the models of this profile. None of the targets
# says which bias should win: the world was tuned for language and for headroom, never for a ranking.

# %% [markdown]
# ## Quick questions
#
# Choose an answer, and you are told about it at once.

# %%
beft_lib.quiz("appendix")

# %% [markdown]
# ## Recap
#
# - A text of the world is a list of choices, and minus the logarithm of their probability is its information.
# - The mean of that, a token, is the entropy: the floor of every loss. Here we know it.
# - What a model pays above the floor is what it has not learned, and one can see on which words.
# - A pretrained model knows much before it is tuned. Tuning a bias can bring out what is there.

# %% [markdown]
# ## Where next
#
# - Write texts of your own: `python -m beft_lib pocket show`, and the grammar in `beft_lib/pocket/texts.py`.
# - Make the models again, from nothing: `python -m beft_lib pocket build --smoke` in a minute, without `--smoke` in earnest.
# - **03 · Training a probe** tunes what you have looked at here.
#
# Entropy and information are Shannon's (*A Mathematical Theory of Communication*, 1948). The tasks have the names and columns of GLUE, SuperGLUE,
# SQuAD and DROP; the prompts are MeZO's (Malladi and others, arXiv 2305.17333).
