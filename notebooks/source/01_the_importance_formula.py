# %% [markdown]
# # 01 · The importance formula
#
# **After this lesson you can**
#
# - compute by hand how far a vector moved, in angle and in length, as one number;
# - write it as a short function and test it against the library;
# - predict what it says at the edges: right angles, reversals, zero vectors, broken values;
# - explain why it needs float64, and why it is relative to where a vector started;
# - score the query, key and value biases of a real pretrained model.
#
# **Time:** about 45 minutes with the exercises. The code itself runs for at most 1 minute in the profile `laptop`, 1 minute in `pocket`, on two CPU cores.
#
# **You need:** vectors and the cosine as at school, and a little PyTorch. Lesson 00 helps, but you can begin here.

# %%
beft_lib.start("01")

# %% [markdown]
# The lines above say which model and data your machine will use. Now the names we need: `torch` holds the vectors, the
# scores come from the course's own library, `beft_lib`, and `check` answers your exercises.

# %%
import math

import pandas as pd
import torch
from beft_lib import checks as check
from beft_lib import find_biases, load_model, load_task, probe, snapshot
from beft_lib import importance, importance_per_layer, magnitude
from beft_lib.display import show
from beft_lib.widgets import vector_explorer

# %% [markdown]
# ## 1. One number for a move
#
# A linear layer computes `x @ W.T + b`. The vector `b`, added whatever the input is, is the layer's **bias**. Every attention
# layer of a Transformer has three linear maps side by side, which make its *queries*, *keys* and *values*, and so it has three
# biases: $b_q$, $b_k$ and $b_v$. Lesson 02 looks at what each of them does. Here a bias is just a vector.
#
# Train a model a little, and all three vectors move. BEFT asks: *which of the three moved most?* That one is taken to matter most
# for the task, and only that one is fine-tuned, starting again from the pretrained model.

# %% [markdown]
# To compare, we need one number for a move from a vector **pre** (before training) to a vector **post** (after it).
#
# A vector can turn, and it can grow or shrink. A fair number should notice both. It should not depend on the
# unit: if both vectors are ten times as long, the number should stay, because the three biases of a model need not be equally long (section 7).
# And it should be symmetric: the way back is as far as the way there.

# %% [markdown]
# Here is the number that BEFT uses:
#
# $$ I(\text{pre}, \text{post}) \;=\; 1 - \frac{\langle \text{pre}, \text{post} \rangle}{\max(\lVert\text{pre}\rVert^2,\; \lVert\text{post}\rVert^2)} $$
#
# Above the line stands the **dot product**: multiply the vectors number by number and add up. Below it stands the squared **norm**
# (the length) of the longer one.

# %% [markdown]
# ### By hand
#
# Take pre = (2, 0) and post = (2, 2). The vector turned by 45 degrees and grew.
#
# **Predict:** compute the three parts in your head before you run the cell: the dot product, the larger squared length,
# the score.

# %%
pre = torch.tensor([2.0, 0.0], dtype=torch.float64)  # (d,) with d = 2
post = torch.tensor([2.0, 2.0], dtype=torch.float64)  # (d,)

# %% tags=["nbval-check-output"]
dot = (pre * post).sum()  # one number: 2*2 + 0*2
longest2 = torch.maximum(pre.norm(), post.norm()) ** 2  # one number: the larger of 4 and 8
print("dot     ", dot.item())
print("longest2", round(longest2.item(), 6))
print("score   ", round((1 - dot / longest2).item(), 6))

# %% [markdown]
# The dot product is 4, the longer vector has squared length 8, and the score is 1 - 4/8 = 0.5.
#
# What does 0.5 mean? Let us compare a few moves of the same vector.
#
# **Predict:** pre stays (2, 0). Put these six moves in order, from the smallest score to the largest: to (2, 0), to (4, 0), to
# (1, 0), to (0, 2), to (-2, 0), to (0, 0). Two pairs share a score. Which?

# %% tags=["nbval-check-output"]
places = torch.tensor([[2.0, 0], [4, 0], [1, 0], [0, 2], [-2, 0], [0, 0]], dtype=torch.float64)  # (6, d)
for place in places:
    print(f"(2, 0) -> ({place[0]:g}, {place[1]:g}): {importance(pre[None], place[None]):g}")

# %% [markdown]
# - **0**: nothing moved.
# - **0.5**: doubled, or halved. The way there and the way back score the same.
# - **1**: turned by a right angle. Shrinking to nothing scores 1 as well.
# - **2**: turned around completely, the largest score there is.
#
# So the score has no unit and runs from 0 to 2. You can read it without knowing how long the vectors are.

# %% [markdown]
# ## 2. Angle times length
#
# The formula can be rewritten so that its two ingredients stand side by side. Call the angle between the vectors $t$ and the
# ratio of their lengths $r = \lVert\text{post}\rVert / \lVert\text{pre}\rVert$. The dot product is
# $\lVert\text{pre}\rVert\,\lVert\text{post}\rVert \cos t$. Now there are two cases.
#
# - post is the longer one: we divide by $\lVert\text{post}\rVert^2$, and what stays is $\cos t \,/\, r$.
# - pre is the longer one: we divide by $\lVert\text{pre}\rVert^2$, and what stays is $\cos t \cdot r$.
#
# Both in one line:
#
# $$ I \;=\; 1 - \cos t \cdot \min(r,\; 1/r) $$

# %% [markdown]
# Both factors are 1 when nothing moved, and each falls as its kind of move gets larger. Then they are **multiplied**.

# %% [markdown]
# ### Exercise 1: predict three scores
#
# Without running any code, write down the scores of
#
# 1. a vector that is halved and does not turn,
# 2. a vector that turns by 60 degrees and keeps its length (the cosine of 60 degrees is 0.5),
# 3. a vector that does both.
#
# Replace the three dots, then run the cell. It answers at once.

# %% tags=["stub", "nbval-check-output"]
my_prediction = [..., ..., ...]

check.l01_predict(my_prediction)

# %% tags=["solution", "nbval-check-output"]
my_prediction = [0.5, 0.5, 0.75]  # 1 - 1*0.5, 1 - 0.5*1, 1 - 0.5*0.5

check.l01_predict(my_prediction)

# %% [markdown]
# ### From formula to code
#
# A model has $L$ layers, each with its own three biases. We keep the vectors of one term as the rows of a matrix of shape `(L, d)`,
# where `d` is the width of a bias, and want one score for each row: shape `(L,)`. So reduce over the last dimension only, with
# `.sum(-1)` and `.norm(dim=-1)`.
#
# ### Exercise 2: write the score
#
# Translate the first formula, the one with the dot product. Three lines are enough. If something is off, the check tries to
# recognise what. (To see its hints at work, forget the square on purpose.)


# %% tags=["stub", "nbval-check-output"]
def my_importance(pre, post):
    """(L, d), (L, d) -> (L,)"""
    return ...


check.l01_importance(my_importance)


# %% tags=["solution", "nbval-check-output"]
def my_importance(pre, post):
    """(L, d), (L, d) -> (L,)"""
    dot = (pre * post).sum(-1)  # (L,)
    longest = torch.maximum(pre.norm(dim=-1), post.norm(dim=-1))  # (L,)
    return 1 - dot / longest**2  # (L,)


check.l01_importance(my_importance)

# %% [markdown]
# ### The other form, to compare with
#
# Here is the second formula as a function. It takes another road (cosine and ratio first, then their product), so if both agree,
# we can trust both.


# %%
def two_case(pre, post):
    """1 - cos(t) * min(r, 1/r), row by row: (L, d), (L, d) -> (L,)"""
    length_pre, length_post = pre.norm(dim=-1), post.norm(dim=-1)  # (L,), (L,)
    cosine = (pre * post).sum(-1) / (length_pre * length_post)  # (L,)
    r = length_post / length_pre  # (L,)
    return 1 - cosine * torch.minimum(r, 1 / r)  # (L,)


# %% [markdown]
# Three layers of width four, every step printed. Follow the first row: which of its two vectors is longer? Is the angle below 90
# degrees (is the dot product positive)?

# %%
generator = torch.Generator().manual_seed(0)
pre = torch.randn(3, 4, generator=generator, dtype=torch.float64)  # (L, d)
post = pre + 0.5 * torch.randn(3, 4, generator=generator, dtype=torch.float64)  # (L, d)
print("pre\n", pre)
print("post\n", post)
print("dot    ", (pre * post).sum(-1))  # (L,)
print("lengths", pre.norm(dim=-1), post.norm(dim=-1))  # (L,), (L,)
print("scores ", two_case(pre, post))  # (L,)

# %% [markdown]
# The library's `importance_per_layer` uses the first formula. The next cell compares both on a thousand random pairs. Claims in this
# course are followed by checks like this one: if a claim did not hold, the cell would stop with an error, or print that it does not.

# %% tags=["nbval-check-output"]
pre = torch.randn(1000, 64, generator=generator, dtype=torch.float64)  # (L, d): a thousand rows
post = torch.randn(1000, 64, generator=generator, dtype=torch.float64)
difference = (importance_per_layer(pre, post) - two_case(pre, post)).abs().max()
assert difference < 1e-12
print("both forms agree on 1,000 pairs:", bool(difference < 1e-12))

# %% [markdown]
# ## 3. See it, move it
#
# Run the cell below. **pre** is fixed, **post** follows the two sliders. (With the keyboard: Tab to a slider, then the arrow keys. If
# you see no sliders, your viewer does not run widgets, and the picture shows the starting position.)
#
# The solid curve holds every place where post could be *with the same importance*. The dashed diamond holds every place with
# the same **magnitude**, a simpler measure that we meet in section 6.

# %%
vector_explorer(angle=40, ratio=2)

# %% [markdown]
# Things to try. **Predict** first, each time.
#
# 1. Angle 0: at which two lengths is the score 0.5?
# 2. Length 1: at which angle is the score 0.5, and at which is it 1?
# 3. Length 0: does the angle still matter?
# 4. Length 0.5, angle 0. Now turn. Does the score change slowly or quickly at first?
# 5. Angle 90: change the length. Why does the score stay where it is?

# %% [markdown]
# Look at the solid curve: a straight line inside the dotted circle, an arc outside of it. Inside, post is shorter than pre, and the
# score is $1 - r\cos t$. But $r \cos t$ is how far post reaches in pre's direction, its *shadow* on pre. All vectors with the same
# shadow score the same, and they lie on a straight line. Outside, the roles are swapped, which bends the line into an arc.
#
# So the score is blind to some differences, as every single number must be. Lesson 04 draws the blind spots of three measures
# beside each other.

# %% [markdown]
# <details>
# <summary><b>Answers</b> (open them after you have tried)</summary>
#
# 1. At 0.5 and at 2: halved or doubled.
# 2. 0.5 at 60 degrees, 1 at 90 degrees.
# 3. No. A vector of length zero has no angle; its score is 1.
# 4. Slowly. The cosine is flat near zero. More about this in section 5.
# 5. The cosine of 90 degrees is 0, and zero times anything is zero: the score is 1 for every length.
#
# </details>

# %% [markdown]
# ## 4. The edges
#
# Training produces odd vectors: some start at exactly zero, some become NaN ("not a number") when training diverges. A measure
# has to say something sensible there, or refuse.
#
# **Predict:** what should the score be if (a) post is zero, (b) pre is zero, (c) both are? The plain formula divides 0 by 0
# in one of these cases. In which?

# %% tags=["nbval-check-output"]
zero = torch.zeros(1, 2, dtype=torch.float64)  # (L, d) with L = 1, d = 2
some = torch.tensor([[3.0, 4.0]], dtype=torch.float64)  # (L, d)
print("some -> zero:", importance(some, zero))
print("zero -> some:", importance(zero, some))
print("zero -> zero:", importance(zero, zero))
plain = 1 - (zero * zero).sum() / torch.maximum(zero.norm(), zero.norm()) ** 2
print("plain formula, zero -> zero:", plain.item())

# %% [markdown]
# One zero vector gives 1: there is no angle, and the ratio of lengths is 0. Both zero would be 0/0, which computers call NaN; the
# library answers 0, because a vector that stayed zero did not move. (The second formula divides by both lengths, so it fails in all
# three cases. Try `two_case(some, zero)`.)
#
# Notice the second line. A bias that starts at *exactly* zero scores 1 after **any** move, however small: the score says that it
# moved and nothing more. Some models have no biases, and to use BEFT on them you add biases of zero. Lesson 07 comes back to this.

# %% [markdown]
# And NaN? If it slipped through, the mean would be NaN, every comparison with it false, and a term chosen by accident. So the
# library refuses, and says which term and which layer are broken.

# %% tags=["nbval-check-output"]
broken = torch.tensor([[3.0, 4.0], [float("nan"), 0.0]], dtype=torch.float64)  # (L, d) with L = 2
try:
    importance_per_layer(torch.ones(2, 2), broken, term="value")
except ValueError as error:
    print(error)

# %% [markdown]
# ## 5. What the score ignores, and what it magnifies
#
# ### Three things it ignores
#
# Turn both vectors together: the angle between them and their lengths stay. Multiply both by ten: the angle and the ratio of
# lengths stay. Swap pre and post: section 1 asked that this change nothing. **Predict:** in which of the three does the score stay? Here are our thousand pairs again, with a random rotation of their 64 dimensions.

# %% tags=["nbval-check-output"]
before = importance_per_layer(pre, post)  # (1000,)
square = torch.randn(64, 64, generator=generator, dtype=torch.float64)
rotation, _ = torch.linalg.qr(square)  # (64, 64), keeps all lengths and angles
turned = importance_per_layer(pre @ rotation, post @ rotation)
scaled = importance_per_layer(10 * pre, 10 * post)
swapped = importance_per_layer(post, pre)
for name, after in {"rotated together": turned, "scaled together": scaled, "pre and post swapped": swapped}.items():
    assert (after - before).abs().max() < 1e-12
    print(f"{name}: the same scores")

# %% [markdown]
# So a *common* scale or choice of coordinates does not enter: the score has no unit. That makes scores alike in form. Whether a
# comparison is fair is another matter: section 7 and lesson 03 show that the length before, the learning rate and the number of steps
# all show in them.

# %% [markdown]
# ### One thing it magnifies
#
# **Predict:** a vector grows by 1 percent, or it turns by 0.01 radian, so that its tip moves just as far. Which scores higher:
# growing, turning, or neither?

# %%
step = 10.0 ** -torch.arange(1, 5, dtype=torch.float64)  # (4,) 0.1, 0.01, 0.001, 0.0001
start = torch.tensor([[1.0, 0.0]], dtype=torch.float64).expand(4, 2)  # (4, d)
grown = start * (1 + step[:, None])  # (4, d)
turned = torch.stack([step.cos(), step.sin()], dim=-1)  # (4, d)
small = {"grows": importance_per_layer(start, grown), "turns": importance_per_layer(start, turned)}
show(pd.DataFrame(small, index=step.tolist()).map("{:.1e}".format), "Importance of small moves")

# %% [markdown]
# Growing by a small step $s$ scores about $s$; turning by it scores about $s^2/2$, because the cosine is flat near zero
# ($\cos s \approx 1 - s^2/2$). At a step of 0.01 that is a factor of two hundred. So a part *along* the vector counts far more than an
# equal part *across* it. Real moves, though, run mostly across (lesson 03).

# %% [markdown]
# ### Why float64
#
# The same effect makes the arithmetic delicate. Models are trained in **float32**, numbers with about seven decimal digits. Just below 1, the
# next float32 number is 0.00000006 away. The score is 1 minus something very close to 1, and whatever is smaller than that spacing is lost.
#
# **Predict:** we turn a vector of 384 numbers by smaller and smaller angles. The exact score is $1 - \cos s = 2\sin^2(s/2)$. At about which
# angle does float32 stop making sense?

# %%
pre = torch.linspace(-1, 1, 384, dtype=torch.float64)[None, :]  # (1, d)
across = torch.stack([-pre[:, 1::2], pre[:, ::2]], dim=-1).flatten(1)  # (1, d), at a right angle
angles = [1e-1, 1e-2, 1e-3, 1e-4, 1e-5]
rows = []
for angle in angles:
    turned = math.cos(angle) * pre + math.sin(angle) * across
    exact, in_32 = 2 * math.sin(angle / 2) ** 2, two_case(pre.float(), turned.float()).item()
    rows.append({"exact": exact, "float64": importance(pre, turned), "float32": in_32})
small = pd.DataFrame(rows, index=angles)
print(small.map("{:.2e}".format))

# %% [markdown]
# The float32 column goes wrong while the float64 column still follows the exact one; a score can even come out negative. So the
# library converts to float64 before it does anything else. The next cell states this as a claim.

# %% tags=["nbval-check-output"]
row = small.loc[1e-4]
wrong_by = (row - row["exact"]).abs() / row["exact"]  # relative error
assert wrong_by["float64"] < 1e-3 and wrong_by["float32"] > 0.5
print("at an angle of 0.0001, float64 is right to 3 digits:", bool(wrong_by["float64"] < 1e-3))
print("at an angle of 0.0001, float32 is wrong by more than half:", bool(wrong_by["float32"] > 0.5))

# %% [markdown]
# ## 6. A simpler measure, to compare with
#
# The obvious alternative asks only how much the numbers changed. **Magnitude** is the mean of the absolute changes:
#
# $$ M(\text{pre}, \text{post}) = \frac{1}{d}\sum_{i=1}^{d} \lvert \text{post}_i - \text{pre}_i \rvert $$
#
# It is easy to understand, but it cannot see *where* a move went: all places on the dashed diamond of section 3 look the same to it.

# %% tags=["nbval-check-output"]
pre = torch.tensor([[4.0, 0.0]], dtype=torch.float64)  # (L, d)
for update in ([-1.0, 3.0], [4.0, 0.0], [-3.0, 1.0], [-4.0, 0.0]):
    post = pre + torch.tensor([update], dtype=torch.float64)
    print(f"update {update}: magnitude {magnitude(pre, post):g}, importance {importance(pre, post):.2f}")

# %% [markdown]
# One magnitude, four importances. Which measure is *better* these lines cannot say. That depends on which of them picks the bias
# that really works best on a task, and lesson 04 measures it.

# %% [markdown]
# ### Exercise 3: two moves of the same size
#
# pre is (3, 1). Choose two updates (what is *added* to pre) with the same magnitude and with importances at least 0.2 apart.

# %% tags=["stub", "nbval-check-output"]
first_update = [..., ...]
second_update = [..., ...]

check.l01_two_moves(first_update, second_update)

# %% tags=["solution", "nbval-check-output"]
first_update = [2.0, 0.0]  # mostly along pre: it grows
second_update = [-2.0, 0.0]  # back towards the origin: it shrinks, and turns

check.l01_two_moves(first_update, second_update)

# %% [markdown]
# ## 7. Real vectors
#
# Now a real model. The next cell loads the pretrained encoder of your profile, with a fresh output layer for a small sentiment task,
# and finds its three bias terms. (About five seconds.)

# %%
task = load_task("sst2")
model = load_model("bert", task)
biases = find_biases(model)
pre = snapshot(biases)  # {"query": (L, d), "key": (L, d), "value": (L, d)}, float64
biases

# %% [markdown]
# Each term is a stack of vectors, one per layer. How long are they?
#
# **Predict:** the three maps sit side by side and were trained together. Will their biases be about equally long?

# %%
norms = pd.DataFrame({term: vectors.norm(dim=-1) for term, vectors in pre.items()})  # (L, 3)
norms.index.name = "layer"
show(norms, "Length of each pretrained bias")

# %% [markdown]
# They are not: in MiniLM, the real BERT of the laptop profile, the query bias of layer 0 is more than 500 times as long as the key bias.
# Lesson 02 finds out why. Here it matters for what comes next.

# %% [markdown]
# ### A move we know
#
# Before we trust a measure on moves that we do not know, we plant some that we do. First, make every bias 10 percent longer.
#
# **Predict:** which term gets the highest importance, and how high? ($\cos t = 1$ and $r = 1.1$.)

# %% tags=["nbval-check-output"]
for term, vectors in pre.items():
    score = importance(vectors, 1.1 * vectors)
    assert abs(score - (1 - 1 / 1.1)) < 1e-12
    print(f"{term:5}  {score:.4f}")

# %% [markdown]
# All the same, although the lengths differ so much: the score is *relative*.
#
# Second, move every bias by the **same length**, 0.05 (about what a short training does), at a right angle to where it points. With lengths $n = \lVert\text{pre}\rVert$ and
# $s = 0.05$, Pythagoras gives $\lVert\text{post}\rVert^2 = n^2 + s^2$, the dot product is $n^2$, and so
#
# $$ I = 1 - \frac{n^2}{n^2 + s^2} = \frac{s^2}{n^2 + s^2} $$

# %% [markdown]
# **Predict:** with the table of lengths above, which term scores highest now? Nearer to 0 or to 1?


# %%
def sideways(vectors, length):
    """(L, d) -> (L, d): a random step of a given length, at a right angle to each row"""
    step = torch.randn(vectors.shape, generator=generator, dtype=torch.float64)
    squared = (vectors**2).sum(-1, keepdim=True).clamp_min(1e-30)  # (L, 1)
    step = step - (step * vectors).sum(-1, keepdim=True) / squared * vectors  # its shadow taken out
    return length * step / step.norm(dim=-1, keepdim=True)


# %%
post = {term: vectors + sideways(vectors, 0.05) for term, vectors in pre.items()}
planted = pd.DataFrame(
    {
        "importance": {term: importance(pre[term], post[term]) for term in pre},
        "magnitude": {term: magnitude(pre[term], post[term]) for term in pre},
    }
)
show(planted.map("{:.4f}".format), "Every bias moved by the same length")

# %% [markdown]
# Magnitude calls the three moves nearly equal, as they are in absolute terms. Importance puts the key bias far ahead, only because
# it began so short: the same nudge changes the whole direction of a tiny vector. The next cell checks the formula on every layer.

# %% tags=["nbval-check-output"]
for term in pre:
    squared = pre[term].norm(dim=-1) ** 2  # (L,)
    predicted = 0.05**2 / (squared + 0.05**2)  # (L,)
    assert torch.allclose(importance_per_layer(pre[term], post[term]), predicted, atol=1e-9)
    print(f"{term:5}  every layer as predicted")

# %% [markdown]
# This is the caution that goes with the formula: **a term that starts small scores high after any move**, even one that is only
# rounding noise.

# %% [markdown]
# ### From layers to one number per term
#
# A term has $L$ layers, so it has $L$ scores. BEFT takes their mean, each layer counted alike:
#
# $$ I(b_T) = \frac{1}{L}\sum_{l=1}^{L} I(\text{pre}_l, \text{post}_l), \qquad T \in \{q, k, v\} $$
#
# and chooses the term with the largest mean. This is what `importance(pre, post)` returns, where `importance_per_layer` returns the
# $L$ scores.

# %% [markdown]
# ### Exercise 4: score every term
#
# Write the function on which BEFT's choice rests. It gets two dictionaries, as `snapshot` makes them, and returns one number for each
# term. You may use `importance_per_layer`.


# %% tags=["stub", "nbval-check-output"]
def score_terms(pre, post):
    """{term: (L, d)}, {term: (L, d)} -> {term: number}"""
    return ...


check.l01_mean(score_terms)


# %% tags=["solution", "nbval-check-output"]
def score_terms(pre, post):
    """{term: (L, d)}, {term: (L, d)} -> {term: number}"""
    return {term: importance_per_layer(pre[term], post[term]).mean().item() for term in pre}


check.l01_mean(score_terms)

# %% [markdown]
# ### A move we do not know
#
# Finally, the real thing in small: train all three terms together for thirty steps on the sentiment task, and score where they
# went. Such a short training is called a **probe**; lesson 03 looks at it closely. (About fifteen seconds; a bar shows how far it is.)
#
# **Predict:** which term will come first? Remember the lengths, and that training does not push all three alike.

# %%
result = probe(model, task, max_steps=30)
show(result.plot())

# %% [markdown]
# That is one score for each layer and term. Now their means, beside magnitude and the lengths:

# %%
post = result.post()  # {"query": (L, d), …} after the last step
summary = pd.DataFrame(index=list(pre))
for term in pre:
    move = post[term] - pre[term]  # (L, d)
    summary.loc[term, "importance"] = importance(pre[term], post[term])
    summary.loc[term, "magnitude"] = magnitude(pre[term], post[term])
    summary.loc[term, "mean length before"] = pre[term].norm(dim=-1).mean().item()
    summary.loc[term, "mean length of the move"] = move.norm(dim=-1).mean().item()
show(summary.map("{:.4f}".format), "Thirty steps of training")

# %% [markdown]
# Read the table from right to left. With MiniLM, query and value moved about equally far. But value was the shorter one, so for it
# the same distance is the larger *relative* move, and importance puts it first. Magnitude sees the distance only, and nearly a tie.
# Key hardly moved, so that its short length did no harm.
#
# Be careful with conclusions: this is one task, one seed and thirty steps. How the score relates to what is gained by *tuning* a term
# is left open even in the paper, and a good part of this course is about measuring it.

# %% [markdown]
# ## Quick questions
#
# Choose an answer, and you are told about it at once.

# %%
beft_lib.quiz("01")

# %% [markdown]
# ## Recap
#
# - The importance of a move is $1 - \cos t \cdot \min(r, 1/r)$: angle and length, multiplied. It lies between 0 and 2.
# - It ignores common rotation and scale, so it has no unit. Compare terms within one run.
# - Small turns count much less than small changes of length, and float32 loses them. The library computes in float64.
# - It is relative to the length before: what starts small scores high; what starts at zero scores 1 after any move.
# - A term's score is the mean over layers. BEFT chooses the term with the largest.

# %% [markdown]
# ## Where next
#
# - **02 · Inside attention**: what each bias can do at all.
# - **03 · Training a probe**: the thirty steps above, slowly.
# - **04 · Magnitude and Fisher**: three measures on one run, and which of them picks well.
#
# The formula is from Huang, Balashankar and Aminifar, *BEFT* (arXiv 2509.15974). Magnitude goes back to BitFit (Ben Zaken, Ravfogel and
# Goldberg, arXiv 2106.10199).
