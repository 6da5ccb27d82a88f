# %% [markdown]
# # 07 · Any Transformer
#
# **The one idea:** every attention layer has a query, a key and a value, but each family of models keeps them somewhere else. Say it
# once, as a row of a table, *measure* whether the row is true, and everything in this course works on that family.
#
# **After this lesson you can**
#
# - find the three biases in a fused projection, by hand, and prove that you found the right ones;
# - predict from a model's positions whether its key bias can do anything;
# - add a bias to a model that has none, tune it, and hand it on as a stock model that needs no library of ours;
# - say why the paper's score is silent there, and what two other rankings say and do not say;
# - write and verify the row for a model of your own.
#
# **Time:** about 50 minutes with the exercises. The code itself runs for at most 1 minute in the profile `laptop`, 1 minute in `pocket`, on two CPU cores.
#
# **You need:** lessons 01 and 02. We lean on two facts of lesson 02: $b_v$ never changes its own layer's attention, and softmax ignores
# what a whole row of logits shares.

# %%
beft_lib.start("07")

# %% [markdown]
# All models of this lesson are tiny and **random**: built from a configuration of `transformers`, and trained by nobody. That is enough,
# because every claim here is about the *structure* of a model, and has to hold for any weights. It also means that no score below says
# anything about language.

# %%
import json
import subprocess
import sys
import tempfile
from copy import deepcopy

import pandas as pd
import torch
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification

from beft_lib import FAMILIES, add_biases, find_biases, fold, importance, install, live_key, shifted, snapshot
from beft_lib import Concatenated, Family, PerHead, Separate  # noqa: F401 - to write a row with, at the end
from beft_lib import checks as check
from beft_lib.display import show
from beft_lib.effects import loss_without, output_change
from beft_lib.models import quiet
from beft_lib.verify import attention_of, example, tiny_model
from beft_lib.widget_inspector import model_inspector

# %% [markdown]
# ## 1. Why there has to be a table
#
# BEFT needs three vectors per layer. In BERT they are three parameters with plain names. We build four models of the same size (2 layers,
# width 32, 4 heads) and fill every bias with random numbers, since a new model starts with zeros.

# %%
small = dict(vocab_size=50, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64)


def random_model(family, auto=AutoModel, **changes):
    """A model that nobody has trained, in float64"""
    torch.manual_seed(0)
    config = AutoConfig.for_model(family, **{**small, **changes})
    model = auto.from_config(config, attn_implementation="eager").double().eval()
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.5)
    return model


# %% [markdown]
# **Predict:** we print every bias in the first layer's attention. How many lines will each model have?

# %% tags=["nbval-check-output"]
models = {family: random_model(family) for family in ("bert", "gpt2", "gpt_neox", "llama")}
for family, model in models.items():
    print(family)
    for name, parameter in model.named_parameters():
        if ".0.att" in name and name.endswith("bias") and "Norm" not in name:
            print("   ", name, tuple(parameter.shape))

# %% [markdown]
# Four models, four answers.
#
# - **BERT** has three vectors of 32, and a fourth for the projection behind attention.
# - **GPT-2** and **GPT-NeoX** (the family of Pythia) compute queries, keys and values in *one* matrix product, which is quicker. Their
#   three biases lie in one vector of 96. We call such a projection **fused**.
# - **Llama** has no bias at all.
#
# Nothing in the names says in which order the 96 numbers come, and the two fused models do not agree about it. So the library holds one
# table, with one row per family. Here is what the rows of our four say.

# %% tags=["nbval-check-output"]
for family in models:
    row = FAMILIES[family]
    print(f"{family:9} layers in {row.layers!r}, then {row.layout}")

# %% [markdown]
# A row also names the output projection, the kind of positions, the head, and which biases stock code has. It holds no code. Splitting,
# training, saving and folding read it, so a new family is one row and nothing else. The table has more than twenty.

# %% [markdown]
# ## 2. Fused projections, by hand
#
# ### GPT-2: one after another
#
# GPT-2 computes $x W + b$, with $W$ of shape $(d, 3d)$, and cuts the result into three equal pieces. (The weight lies the other way
# round than in `nn.Linear`, in a layer that is called `Conv1D` for historical reasons. A bias is a plain vector, so this does not concern it.) So
#
# $$ b = [\; b_q \;\vert\; b_k \;\vert\; b_v \;] $$


# %%
def gpt2_part(bias, term):
    """(3 * d,) -> (d,)"""
    d = len(bias) // 3
    start = {"query": 0, "key": d, "value": 2 * d}[term]
    return bias[start : start + d]


# %% tags=["nbval-check-output"]
fused = torch.arange(12)  # (3 * d,) with d = 4
for term in ("query", "key", "value"):
    print(f"{term:5}", gpt2_part(fused, term).tolist())

# %% [markdown]
# How could you know without reading GPT-2's source? By what the pieces *do*. Move a third of the vector, and look at two things: the
# first layer's attention, and the model's output.
#
# **Predict:** by lesson 02, which third changes both? Which only the output? Which nothing? (GPT-2 adds its positions to the words.)

# %%
words = torch.randint(5, 50, (64, 12), generator=torch.Generator().manual_seed(0))  # (B, T)


@torch.no_grad()
def effect(model, bias, index):
    """Move some elements of a bias: does the first layer's attention change, and the output?"""
    before, kept = model(words[:4], output_attentions=True), bias.clone()
    bias[index] += torch.randn(len(index), generator=torch.Generator().manual_seed(1), dtype=bias.dtype)
    after = model(words[:4], output_attentions=True)
    bias.copy_(kept)
    pairs = (after.attentions[0], before.attentions[0]), (after.last_hidden_state, before.last_hidden_state)
    return ["moves" if (a - b).abs().max() > 1e-6 else "stays" for a, b in pairs]


# %% tags=["nbval-check-output"]
gpt2, neox = models["gpt2"], models["gpt_neox"]
bias = gpt2.h[0].attn.c_attn.bias  # (96,)
for which, third in zip(("first", "second", "third"), torch.arange(96).chunk(3), strict=True):
    attention, output = effect(gpt2, bias, third)
    print(f"{which:6} third: attention {attention}, output {output}")

# %% [markdown]
# A bias that changes attention is a query; one that passes straight through to the output is a value; one that softmax cancels is a
# key. The order is proved, and no name was needed.
#
# ### GPT-NeoX: head by head
#
# The same vector of 96 numbers, in another model. **Predict:** what will the three thirds do, if NeoX orders them as GPT-2 does? And
# what would you see if it does not?

# %% tags=["nbval-check-output"]
bias = neox.layers[0].attention.query_key_value.bias  # (96,)
for which, third in zip(("first", "second", "third"), torch.arange(96).chunk(3), strict=True):
    attention, output = effect(neox, bias, third)
    print(f"{which:6} third: attention {attention}, output {output}")

# %% [markdown]
# None of the thirds leaves attention alone, so none of them is a value bias. NeoX stores its heads one after another, each with a query,
# a key and a value of its own:
#
# $$ b = [\; b_q^{(1)} \;\vert\; b_k^{(1)} \;\vert\; b_v^{(1)} \;\vert\; b_q^{(2)} \;\vert\; b_k^{(2)} \;\vert\; b_v^{(2)} \;\vert\; \dots \;] $$
#
# This mistake raises no error. All shapes fit, training runs, and what is called "value" in the results is a mixture of all three.
#
# ### Exercise 1: take it apart
#
# `bias` has shape (3 · d,), and there are `heads` heads. With 12 numbers and 2 heads, the value is 4, 5, 10, 11. (Hint: what does
# `bias.view(heads, 3, -1)` look like?)


# %% tags=["stub", "nbval-check-output"]
def neox_part(bias, term, heads):
    """(3 * d,) -> (d,)"""
    return ...


check.l07_neox_part(neox_part)


# %% tags=["solution", "nbval-check-output"]
def neox_part(bias, term, heads):
    """(3 * d,) -> (d,)"""
    column = ["query", "key", "value"].index(term)
    return bias.view(heads, 3, -1)[:, column].flatten()


check.l07_neox_part(neox_part)

# %% [markdown]
# The library's rows give an index for each term, `layout.index(term, (query heads, key/value heads, head width))`. With it we ask the
# model again.

# %% tags=["nbval-check-output"]
for term in ("query", "key", "value"):
    index = FAMILIES["gpt_neox"].layout.index(term, (4, 4, 8))  # (32,)
    attention, output = effect(neox, bias, index)
    print(f"{term:5} {index[:10].tolist()} …: attention {attention}, output {output}")

# %% [markdown]
# Now there is a value. But query and key answer alike in this family (section 4 says why), so that here a swap would go unnoticed. The library's check
# nudges one token: a query then changes its own row of attention, a key its own column.
#
# ### Training one part of a vector
#
# To PyTorch a fused bias is one parameter: trained or frozen as a whole. PEFT's BEFT (version 0.21) puts its delta beside the whole bias
# of a module, so that on GPT-NeoX it trains all three terms at once (and GPT-2's `Conv1D` it refuses). One could set two thirds of the gradient to zero, but weight decay
# would still move them.
#
# The library does something else. The fused bias is frozen, and a delta of 32 numbers, of one term alone, is added at that term's
# places. We switch weight decay on, on purpose. **Predict:** after one step, will the other 64 numbers have shrunk a little?

# %%
before = gpt2.h[0].attn.c_attn.bias.detach().clone()  # (96,)
deltas = install(gpt2, ["value"])["value"].deltas()  # 2 × (32,): one for each layer
optimizer = torch.optim.AdamW(deltas, lr=0.01, weight_decay=0.1)
gpt2(words).last_hidden_state[..., 0].sum().backward()
optimizer.step()
after = gpt2.h[0].attn.c_attn.bias.detach()  # (96,), with the delta

# %% tags=["nbval-check-output"]
for term in ("query", "key", "value"):
    changed = int((gpt2_part(after, term) != gpt2_part(before, term)).sum())
    print(f"{term:5} {changed} of 32 numbers changed")

# %% [markdown]
# No: not "nearly the same", but the same bits.

# %% [markdown]
# ## 3. Look into other families
#
# Choose a family below, and a term to train. Each strip is a bias vector of one attention layer, with its blocks in the order in which
# they are stored: `q0` is the query bias of head 0. Thick edges show what is trained. A dashed edge is a bias that stock code does not
# have: a zero is added where it is needed. Hatched parts can do nothing. (With the keyboard: Tab to a list, open it with the space bar, then the
# arrow keys and Enter. On a closed list, arrows and letters are JupyterLab's own commands. If you see no lists, your viewer does not run
# widgets, and the picture shows one family.)

# %%
model_inspector("gpt_neox", "key")

# %% [markdown]
# **Predict** before you choose:
#
# 1. `gpt2`: train the key bias. What does moving it change?
# 2. `falcon`: how many queries share one key and one value? Where do they lie?
# 3. `t5`, `llama`, `qwen2`: which of them has which biases?
# 4. `bloom` is fused like `gpt_neox`, and yet its keys look different. Why?

# %% [markdown]
# <details>
# <summary><b>Answers</b> (open them after you have tried)</summary>
#
# 1. Nothing, neither attention nor the answer.
# 2. Two queries, then their one key and their one value; then the next group.
# 3. T5 and Llama have none. Qwen2 has query, key and value biases, but none behind attention.
# 4. BLOOM's positions are a penalty for distance, added to the logits (ALiBi). Nothing is turned, so all of its key bias is dead.
#
# </details>

# %% [markdown]
# ## 4. What the key bias can do
#
# Lesson 02 proved that $q_i \cdot b_k$ is the same for every key $j$, so that softmax cancels it. The proof holds as long as nothing
# makes the *same* $b_k$ act differently on different keys. How a model knows about positions decides that.
#
# Here are eight families. What they know of positions is *added* (to the words, or to the logits), or it *turns* queries and keys; and two
# do something else.

# %% [markdown]
# We measure in float64, on a random model of each kind. `tiny_model` is the library's own maker of such models: every bias is there, and
# none is zero. **Predict:** of BERT, GPT-2, BLOOM, T5, Llama, GPT-NeoX, Qwen3 and DeBERTa, in which will moving $b_k$ change attention?


# %%
@torch.no_grad()
def key_moves_attention(family):
    """Largest change of a weight in the first layer's attention when b_k, or b_q, moves at random"""
    model, seen = tiny_model(family), {}
    inputs = example(model)
    before = attention_of(model, inputs)[0]  # (B, heads, T, T)
    for term in ("key", "query"):
        shape = find_biases(model)[term].values().shape  # (L, d)
        move = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        with shifted(model, term, move):
            seen[term] = (attention_of(model, inputs)[0] - before).abs().max().item()
    return {"positions": FAMILIES[family].positions, **seen}


families = ["bert", "gpt2", "bloom", "t5", "llama", "gpt_neox", "qwen3", "deberta-v2"]
moves = pd.DataFrame({family: key_moves_attention(family) for family in families}).T
show(moves.map(lambda value: value if isinstance(value, str) else f"{value:.0e}"), "Largest change of attention")

# %% tags=["nbval-check-output"]
for family, row in moves.iterrows():
    assert row["query"] > 1e-3  # the control: here a move must show
    print(f"{family:10} {row['positions']:20} b_k is {'alive' if row['key'] > 1e-5 else 'dead'}")

# %% [markdown]
# Values around `1e-8` are dead as well: BLOOM computes its softmax in float32, whatever we ask for, and rounds there.
#
# The rule behind it:
#
# | positions | what happens | so $b_k$ is |
# |---|---|---|
# | absolute, learned | added to the words, before attention | dead |
# | ALiBi, bias by distance | added to the logits, beside $q \cdot k$ | dead |
# | rotary | key $j$, bias included, is turned by an angle that grows with $j$ | alive |
# | partial rotary | only the first numbers of each head are turned | alive there, dead elsewhere |
#
# Two families fit none of these rows. **Qwen3** divides each key, bias included, by its own length before it turns it. And **DeBERTa** lets
# each position's vector multiply the keys, so that $b_k$ meets a different factor at each distance. Both ways a constant becomes
# something else, and $b_k$ lives.
#
# ### Partly alive
#
# Pythia turns a quarter of each head, here 2 numbers of 8. Move them one at a time, in all heads together:

# %% tags=["nbval-check-output"]
model = tiny_model("gpt_neox")
inputs = example(model)
with torch.no_grad():
    before = attention_of(model, inputs)[0]
    for number in range(8):
        move = torch.zeros(2, 4, 8, dtype=torch.float64)  # (L, heads, d_head)
        move[:, :, number] = 1
        with shifted(model, "key", move.flatten(1)):
            moved = (attention_of(model, inputs)[0] - before).abs().max() > 1e-6
        print(number, "alive" if moved else "dead")
print("the library says:", live_key(model).view(4, 8)[0].int().tolist(), "in every head")

# %% [markdown]
# A term may thus be a mixture of live and dead numbers. Its score is computed from all of them, and the dead ones bring in what rounding
# and Adam make of them (lesson 02, section 7).
#
# ### Exercise 2: count the living
#
# Phi-1.5 has 32 heads of width 64, each with its own key, and turns half of each head. How many of the 2,048 numbers of one layer's $b_k$
# can change anything?

# %% tags=["stub", "nbval-check-output"]
my_prediction = ...

check.l07_live(my_prediction)

# %% tags=["solution", "nbval-check-output"]
my_prediction = 32 * 64 // 2

check.l07_live(my_prediction)

# %% [markdown]
# ## 5. A model without biases
#
# Many models of today are like Llama: no biases. The second version of the paper (on arXiv) simply adds a $b_v$ of zero and trains it. We do the same, to a
# Llama with 4 query heads and **2** key/value heads. (Fewer keys and values mean less to remember while generating.)

# %%
shape = dict(num_key_value_heads=2, pad_token_id=0, initializer_range=0.2)
stock = random_model("llama", AutoModelForSequenceClassification, **shape)
try:
    find_biases(stock)
except ValueError as error:
    print(error)

# %% [markdown]
# The library does not add anything behind your back. You ask for it. **Predict:** what do zero biases change in the model's answers?
# And how long will each of the three be?

# %% tags=["nbval-check-output"]
llama = deepcopy(stock)
add_biases(llama)
with torch.no_grad():
    print("the same answers, to the bit:", torch.equal(llama(words).logits, stock(words).logits))
for bias in find_biases(llama).values():
    print(bias)

# %% [markdown]
# ### Grouped heads
#
# Key and value biases have 16 numbers where the query has 32, because each key/value head serves a **group** of two query heads: heads 0
# and 1 read the first, heads 2 and 3 the second. So behind attention, where four heads are put side by side, the first half of $b_v$
# stands twice, and then the second half twice:
#
# $$ b_v = [\,g_0 \;\vert\; g_1\,] \;\longrightarrow\; [\,g_0 \;\vert\; g_0 \;\vert\; g_1 \;\vert\; g_1\,] $$
#
# ### Exercise 3: a part for every head


# %% tags=["stub", "nbval-check-output"]
def for_every_head(b_v, heads, kv_heads):
    """(kv_heads * d_head,) -> (heads * d_head,)"""
    return ...


check.l07_groups(for_every_head)


# %% tags=["solution", "nbval-check-output"]
def for_every_head(b_v, heads, kv_heads):
    """(kv_heads * d_head,) -> (heads * d_head,)"""
    return b_v.view(kv_heads, -1).repeat_interleave(heads // kv_heads, 0).flatten()


check.l07_groups(for_every_head)

# %% [markdown]
# ### Which term? The score is silent
#
# As always in BEFT, first let all three terms move, then choose. The task is made up: do more than two of the first twelve words of
# the vocabulary occur? Deltas and head are trained, in a short loop.


# %%
answers = ((words < 12).sum(1) > 2).long()  # (B,)


def train(model, terms, steps=60):
    """Deltas of these terms and the head; the loss of every step"""
    deltas = [delta for term in install(model, terms).values() for delta in term.deltas()]
    optimizer = torch.optim.AdamW([*deltas, model.score.weight], lr=5e-3, eps=1e-6, weight_decay=0.0)
    losses = []
    for _ in range(steps):
        losses.append(model(words, labels=answers).loss)
        losses[-1].backward()
        optimizer.step()
        optimizer.zero_grad()
    return [loss.item() for loss in losses]


# %% [markdown]
# **Predict:** the three terms start at exactly zero. What is the importance of each after 60 steps? (Lesson 01, section 4.)

# %% tags=["nbval-check-output"]
pre = snapshot(find_biases(llama))  # {term: (L, d)}, all zero
losses = train(llama, ["query", "key", "value"])
post = snapshot(find_biases(llama))
print("the loss fell by more than a tenth:", losses[-1] < 0.9 * losses[0])
for term in pre:
    print(f"{term:5} importance {importance(pre[term], post[term]):g}")

# %% [markdown]
# A tie, at 1. The score compares a vector with where it began, and there was nothing. One step or a thousand, right or wrong: any move
# away from zero scores 1. So for such models the choice of $b_v$ cannot come from the score.
#
# What could one measure instead? Two things that are defined at zero, both on data:
#
# $$ \text{output change} = \frac{\lVert o(b + \delta) - o(b) \rVert}{\lVert o(b) \rVert} \qquad\qquad \text{loss without} = \ell(\text{without } \delta) - \ell(\text{with all}) $$
#
# The first takes what a layer's attention puts out, $o$, and asks which share of its size the move makes. The second takes one term's
# move out of the trained model and asks how much worse the loss gets.

# %%
batch = {"input_ids": words, "attention_mask": torch.ones_like(words), "labels": answers}
change = {term: layers.mean().item() for term, layers in output_change(llama, [batch]).items()}
size = {term: (post[term] - pre[term]).abs().mean().item() for term in pre}
rankings = pd.DataFrame({"magnitude": size, "output change": change, "loss without": loss_without(llama, [batch])})
show(rankings, "Three terms that all started at zero")

# %% [markdown]
# Magnitude is defined, too, but it sees the numbers only, and Adam moves all numbers about equally far. The other two see what the
# numbers do.
#
# What neither says: whether tuning that term **alone** will do well. The three were trained together, and each made up for the others.
# A large change may be a harmful one. How far a term moved depends on learning rate and steps. And these are random weights. Whether
# such a ranking predicts anything is a question to measure, on trained models and several seeds. Lessons 04 and 08 do, beside the paper's
# score; and on the one bias-free model there it is magnitude, of all rulers, that names the best term most often.

# %% [markdown]
# ## 6. Tune it, fold it, hand it on
#
# Now $b_v$ alone, from a fresh copy.

# %%
tuned = deepcopy(stock)
add_biases(tuned, ["value"])
losses = train(tuned, ["value"])
print(f"loss {losses[0]:.3f} before, {losses[-1]:.3f} after {len(losses)} steps")

# %% [markdown]
# Stock Llama has no place for a value bias alone: either q, k, v and the output projection all have one (`attention_bias` in its
# configuration), or none. Whoever loads our model would have to know about our bias. But lesson 02 showed that a value bias folds into the
# output projection, and with groups it is the *repeated* one that folds:
#
# $$ b_o \leftarrow b_o + W_o\,[\,g_0 \;\vert\; g_0 \;\vert\; g_1 \;\vert\; g_1\,] $$
#
# First by hand, for the first layer:

# %%
b_v = find_biases(tuned, ["value"])["value"].values()[0]  # (16,)
W_o = tuned.model.layers[0].self_attn.o_proj.weight.detach()  # (32, 32)
by_hand = W_o @ b_v.view(2, 8).repeat_interleave(2, 0).flatten()  # (32,)

# %% [markdown]
# `fold` does it in every layer, in place. **Predict:** what is in the value bias afterwards? What in the query bias?

# %% tags=["nbval-check-output"]
with torch.no_grad():
    expected = tuned(words[:3]).logits  # (3, 2)
    unfolded = stock(words[:3]).logits
    fold(tuned)
    moved = (tuned(words[:3]).logits - expected).abs().max()
attention = tuned.model.layers[0].self_attn
print("the same answers:", bool(moved < 1e-6))
print("and others than before tuning:", not torch.allclose(expected, unfolded, atol=1e-3))
print("output bias as by hand:", torch.allclose(attention.o_proj.bias, by_hand))
print("value and query bias all zero:", not attention.v_proj.bias.any() and not attention.q_proj.bias.any())
print("attention_bias in the configuration:", tuned.config.attention_bias)

# %% [markdown]
# Nothing of ours is left in it. The proof is a process of its own, which has `transformers` and has never heard of `beft_lib`. It gets the
# folder and three sentences, and sends back its logits. (Some seconds, most of them for starting Python.)

# %%
STRANGER = """
import json, sys, torch
from transformers import AutoModelForSequenceClassification
model = AutoModelForSequenceClassification.from_pretrained(sys.argv[1], dtype=torch.float64).eval()
logits = model(torch.tensor(json.loads(sys.argv[2]))).logits
print(json.dumps({"logits": logits.tolist(), "beft_lib": "beft_lib" in sys.modules}))
"""
with tempfile.TemporaryDirectory() as folder, quiet():  # no progress bars
    tuned.save_pretrained(folder)
    command = [sys.executable, "-c", STRANGER, folder, json.dumps(words[:3].tolist())]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=True)
told = json.loads(done.stdout)

# %% tags=["nbval-check-output"]
theirs = torch.tensor(told["logits"], dtype=torch.float64)  # (3, 2)
print("it knew beft_lib:", told["beft_lib"])
print("the same logits, to six digits:", torch.allclose(theirs, expected, atol=1e-6))

# %% [markdown]
# ### Where folding stops
#
# - **$b_q$ and $b_k$** act inside softmax. They fold nowhere; they stay where they are, if stock code has a place for them.
# - **Attention sinks** (extra logits that belong to no word) make rows sum to *less* than 1, so each row passes on a different share of $b_v$.
# - **Attention dropout** does the same, while training.
# - Some models have no place even behind attention. Then there is only the adapter: a few kilobytes, for people who have the library.
#
# Where folding is not exact, or where no place is left, `fold` refuses and leaves the model as it was. Mistral is of the last kind:

# %%
mistral = tiny_model("mistral", zero="qk")  # a value bias that is not zero, and no other
try:
    fold(mistral)
except ValueError as error:
    print(error)

# %% [markdown]
# ## 7. A row for your own model
#
# What about a model that is not in the table? If its structure leaves no doubt (three linear maps side by side, under a usual name, the
# same in every layer), the library uses it as it is, and says that it does not know about its positions. Otherwise it stops, and shows
# what it saw. MPT is such a model:

# %%
mpt = random_model("mpt")
try:
    find_biases(mpt)
except ValueError as error:
    print(error)

# %% [markdown]
# "Add a row by hand." To write one you need to look at one layer, and to know how the model treats positions. MPT's paper says ALiBi, and
# the sizes tell that the projection is fused (96 = 3 · 32):

# %% tags=["nbval-check-output"]
for name, module in mpt.named_modules():
    if hasattr(module, "weight") and module.weight.dim() == 2:
        print(f"{name:26}{tuple(module.weight.shape)}")

# %% [markdown]
# ### Exercise 4: write the row
#
# `Family` takes six things that matter here: the model type, the path of the list of layers, the layout, the path of the projection behind
# attention *in one layer*, the kind of positions, and the head (`("score",)`). A layout is `Separate(q, k, v)`, `Concatenated(path)` or
# `PerHead(path)`.
#
# This check does not compare with a stored answer. It builds a random MPT with *your* row, nudges what you call a query, and looks
# whether attention answers as it must. So you may guess.

# %% tags=["stub", "nbval-check-output"]
my_row = ...  # Family("mpt", layers, layout, output, positions, ("score",))

check.l07_row(my_row)

# %% tags=["solution", "nbval-check-output"]
my_row = Family("mpt", "blocks", Concatenated("attn.Wqkv"), "attn.out_proj", "alibi", ("score",))

check.l07_row(my_row)

# %% [markdown]
# With `register_family(my_row)` (also from `beft_lib`) everything in this course knows the model: `find_biases`, `probe`, `fine_tune`,
# `save_adapter`, and the inspector above. In a terminal, `python -m beft_lib families` runs eight checks over every row of the
# table, and prints what held.
#
# Do verify a row that you add. A wrong one gives no error later, only results under a wrong name.

# %% [markdown]
# ## Quick questions
#
# Choose an answer, and you are told about it at once.

# %%
beft_lib.quiz("07")

# %% [markdown]
# ## Recap
#
# - Where q, k and v live is a family's row in a table: separate, concatenated or per head. Behaviour, not names, proves a row.
# - A delta of one term trains its part of a fused vector, and leaves the other parts bit-identical.
# - $b_k$ is dead with absolute, learned and ALiBi positions; it lives where keys are turned, normed or met by their distance.
# - A bias-free model takes a $b_v$ of zero, which folds into the output projection (repeated over the heads of a group) and leaves a stock
#   model behind.
# - At a zero start the paper's score is 1 for any move. Output change and loss without are defined there; what they predict has to be
#   measured.

# %% [markdown]
# ## Where next
#
# - **08 · Your own task**: from a csv to a defended adapter, and the question which score predicts what.
# - To try now: the inspector names a small public model for each family. Where your machine can fetch one,
#   `load_model("HuggingFaceTB/SmolLM2-135M", task)` gives a Llama that has learned something, for sections 5 and 6.
#
# GPT-2 is by Radford and others (2019), GPT-NeoX by Black and others (arXiv 2204.06745), ALiBi by Press, Smith and Lewis (arXiv 2108.12409),
# grouped heads by Ainslie and others (arXiv 2305.13245). Adding a $b_v$ of zero is from the second version of BEFT (arXiv 2509.15974, v2).
