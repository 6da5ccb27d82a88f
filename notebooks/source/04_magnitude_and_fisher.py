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
# # 04 · Magnitude and Fisher
#
# **The one idea:** three rulers on one run. They agree on some things and not on others, and each of them is blind to something.
#
# **After this lesson you can**
#
# - say in one sentence what importance, magnitude and Fisher information look at;
# - draw the moves that a ruler cannot tell apart, and build two of them on purpose;
# - get every single example's gradient at a bias out of one backward pass;
# - tell the empirical Fisher from the true one, and both from what a clipped batch mean gives;
# - choose a ruler, and defend the choice with measurements.
#
# **Time:** about 55 minutes with the exercises. The code itself runs for at most 2 minutes in the profile `laptop`, 1 minute in `pocket`, on two CPU cores.
#
# **You need:** lesson 01 (importance and magnitude) and lesson 03 (what a probe is). What we use of lesson 02 is said again.

# %%
beft_lib.start("04")

# %%
from copy import deepcopy

import pandas as pd
import torch
from torch.nn.functional import cross_entropy

from beft_lib import checks as check
from beft_lib import fisher_information, load_model, load_task, load_tokenizer, probe
from beft_lib import importance, magnitude, magnitude_per_layer
from beft_lib.display import say, show
from beft_lib.gradients import per_example_gradients
from beft_lib.plots_rulers import lost_heatmap, rulers_heatmap, score_against_performance
from beft_lib.widget_blindspots import blind_spots

# %% [markdown]
# ## 1. One run, three rulers
#
# A probe trains the query, key and value bias together, and afterwards we want to know which of them mattered. Two ways to read
# such a run you have met. With *pre* and *post* for a layer's vector before and after, d numbers long,
#
# $$ \text{importance} = 1 - \frac{\langle \text{pre}, \text{post}\rangle}{\max(\lVert\text{pre}\rVert^2, \lVert\text{post}\rVert^2)}, \qquad
#    \text{magnitude} = \frac1d \sum_i \lvert \text{post}_i - \text{pre}_i \rvert. $$
#
# The third asks not how far a number *went*, but how hard the examples *pull* on it. The model gives the right
# label $y_n$ of example $n$ some probability $p$. How fast does its logarithm change when the number $b_i$ does? That is a gradient.
# Square it, and average over the $N$ examples and the d numbers:
#
# $$ \text{Fisher} = \frac1d \sum_i \frac1N \sum_{n} \left(\frac{\partial \log p(y_n \mid x_n)}{\partial b_i}\right)^2 $$
#
# A large value says: the loss is sensitive here. No training is needed for it, only a place to stand.

# %% [markdown]
# We run one probe and read it with all three, Fisher where the probe ended. (About half a minute.)
#
# **Predict:** which term will each ruler put first, and by what factor? Where should the key be?

# %%
task = load_task("sst2", n_train=200)
model = load_model("bert", task)
result = probe(model, task, max_steps=60)
pulled = fisher_information(model, task, where="trained")  # the model still holds the probe's biases
print(result, pulled, sep="\n")

# %%
tables = {
    "importance": result.table(),
    "magnitude": result.table(magnitude_per_layer),
    "Fisher": pulled.table(),
}
show(rulers_heatmap(tables))

# %%
for name, table in tables.items():
    means = table.loc["mean"].sort_values(ascending=False)
    first, second = means.index[:2]
    print(f"{name:<10} first {first}, {means[first] / means[second]:.1f} times as high as {second}")

# %% [markdown]
# Look at the bottom row of each map, then at that factor. On MiniLM, importance and Fisher are both sure, and magnitude has nearly a
# tie: under Adam, all numbers that are pulled at all move by about the same amount, as lesson 03 found. So magnitude mostly counts steps.

# %% tags=["nbval-check-output"]
for name in ("magnitude", "Fisher"):
    means = tables[name].loc["mean"]
    print(f"{name}: key is last, and below a hundredth of the first: {bool(means['key'] < 0.01 * means.max())}")

# %%
means = tables["importance"].loc["mean"]
print(f"importance: key scores {means['key'] / means.max():.3f} of the first")

# %% [markdown]
# The key bias of a BERT can do nothing, since softmax cancels it (lesson 02). A ruler that puts it high is fooled: a dead bias is a good test of a
# ruler. Magnitude and Fisher pass. Importance passes on MiniLM, and can fail: it compares a move with the vector's own length, and where that is all
# but zero, the tiniest move is a large one. Keep that in mind for section 4.

# %% [markdown]
# ## 2. What each of them cannot see
#
# ### Three moves, three winners
#
# Here are three terms of two numbers each, with a move and the gradients of two examples:
#
# - **a** is short and turns by a right angle, gently pulled;
# - **b** is long and goes further than any other, pulled harder;
# - **c** is pulled hardest of all, by two examples in opposite directions, and so stays where it was.
#
# **Predict:** which term does each ruler choose? And which would *you* train?

# %%
terms = {  # pre, post, the gradients of two examples
    "a": ([0.1, 0.0], [0.0, 0.1], [[0.1, -0.1], [0.1, -0.1]]),
    "b": ([5.0, 0.0], [6.0, 1.0], [[-1.0, -1.0], [-1.0, -1.0]]),
    "c": ([5.0, 0.0], [5.0, 0.0], [[3.0, 0.0], [-3.0, 0.0]]),
}
rows = {}
for name, (pre, post, gradients) in terms.items():
    pre, post = (torch.tensor([v], dtype=torch.float64) for v in (pre, post))  # (L, d) each, with L = 1
    pull = torch.tensor(gradients).square().mean().item()  # of (N, d)
    rows[name] = {"importance": importance(pre, post), "magnitude": magnitude(pre, post), "Fisher": pull}
toy = pd.DataFrame(rows).T
show(toy, "Three terms, three rulers")

# %% tags=["nbval-check-output"]
print("first by each ruler:", toy.idxmax().to_dict())

# %% [markdown]
# No ruler has made a mistake. They answer three questions. Whether one of them is *our* question ("which term, tuned alone, does best?") no formula can say.

# %% [markdown]
# ### The sets that a ruler cannot tell apart
#
# A ruler turns d numbers into one, so many moves must get the same number. In two dimensions we can draw them:
#
# - **Magnitude** is $\tfrac12(|\Delta_1| + |\Delta_2|)$. Equal values make a **diamond** around pre. It does not know where the origin
#   is, so along pre, across it or back to zero are all one to it.
# - **Importance** is $1 - \cos t\cdot\min(r, 1/r)$. Equal values make the line and arc of lesson 01.
# - **Fisher** sees no move at all, only gradients, and of those only the *length*: equal values make a **circle**. To put it on the same
#   map, we read the move as one plain gradient step with learning rate 1 on a single example. Then the gradient is minus the move.
#
# Below, pre stays at (1, 0), and two sliders place **post**. A **twin** walks along the set of one ruler: that ruler's number stays the same, and
# the others do not. (Keyboard: Tab to a control, then the arrow keys. Without widgets the picture shows one position.)

# %%
blind_spots(1.6, 1.2, "importance", 60)

# %% [markdown]
# Things to try. **Predict** first, each time.
#
# 1. Post at (2, 0), same magnitude: walk all the way around. What are the smallest and the largest importance of the twin?
# 2. Post at (0.5, 0), same importance: where must the twin go to have the *largest* magnitude?
# 3. Post at (1.5, 0.5), same Fisher: at how many places does the twin have the same magnitude as well?

# %% [markdown]
# <details>
# <summary><b>Answers</b> (open them after you have tried)</summary>
#
# 1. The smallest is about 0.29, near (0.71, 0.71) and again below: turned by 45 degrees, as long as before. The largest is 1, at (0, 0).
#    To turn, to double or to vanish is all one to magnitude.
# 2. On the arc, near (1.7, 0.7): magnitude 0.71 instead of 0.25. To importance, halved and doubled are equally far.
# 3. At four: where the diamond touches the circle in the middle of its sides.
#
# </details>

# %% [markdown]
# ### The unit
#
# There is one more blind spot. Write the same bias in another unit, ten times as fine: the model stores
# $b' = 10\,b$ and the layer adds $b'/10$. Every output of the model, before and after training, is what it was.
#
# ### Exercise 1: change the unit
#
# By what factor does each ruler change? (For Fisher: when $b'$ changes by 1, by how much does $b$ change, and so the loss?)

# %% tags=["stub", "nbval-check-output"]
my_factors = [..., ..., ...]  # of importance, magnitude, Fisher

check.l04_units(my_factors)

# %% tags=["solution", "nbval-check-output"]
my_factors = [1, 10, 0.01]  # a gradient is a tenth, and it is squared

check.l04_units(my_factors)

# %% [markdown]
# To see it happen we need a layer, a loss, and nothing else:


# %%
def in_units(c):
    """The rulers' readings of one small layer whose bias is kept in units of 1/c"""
    x = torch.tensor([[1.0, 2.0], [0.5, -1.0], [2.0, 0.0]], dtype=torch.float64)  # (N, d)
    pre, post = c * torch.tensor([[[0.3, -0.2]], [[0.1, 0.4]]], dtype=torch.float64)  # (L, d) each, with L = 1
    bias = pre.clone().requires_grad_()
    losses = (x + bias / c).tanh().sum(-1)  # (N,): what the layer puts out does not depend on c
    gradients = [torch.autograd.grad(loss, bias, retain_graph=True)[0] for loss in losses]  # N × (1, d)
    return importance(pre, post), magnitude(pre, post), torch.cat(gradients).square().mean().item()


units = pd.DataFrame({c: in_units(c) for c in (1, 10)}, index=["importance", "magnitude", "Fisher"])
show(units.assign(factor=units[10] / units[1]).map("{:.3g}".format), "The same model, its bias in two units")

# %% tags=["nbval-check-output"]
print("factors:", (units[10] / units[1]).round(6).tolist())

# %% [markdown]
# Is that far-fetched? Compare query and value in one model: a number in $b_v$ goes straight to the output, one in $b_q$ is multiplied with keys,
# divided by $\sqrt d$ and squeezed by a softmax. They *are* in different units. Importance has none, and pays for it with the length before: short
# vectors score high (lesson 03's shuffled labels).
#
# | ruler | looks at | cannot see |
# |---|---|---|
# | importance | angle and ratio of lengths, pre to post | how large anything is; whether the loss fell |
# | magnitude | mean size of the change | where the vector was and where it went; the unit |
# | Fisher | squared pull of each example, at one place | any move; the direction of the pull; the unit |

# %% [markdown]
# ## 3. Fisher, done right
#
# The formula asks for the gradient of *each example*. A backward pass gives the gradient of the mean over a batch, in which they are already mixed.
# One pass an example would do, and is slow. For a bias there is a short cut. The layer computes, for token $t$ of example $n$,
#
# $$ y_{nt} = W x_{nt} + b \qquad\Longrightarrow\qquad \frac{\partial \ell_n}{\partial b} = \sum_t \frac{\partial \ell_n}{\partial y_{nt}}, $$
#
# where $\ell_n$ is the loss of example $n$: the bias is added at every token, so its gradient is the **sum over tokens of the gradient at the
# layer's output**. And the loss of one example does not depend on another's output. So *one* backward pass of the summed losses leaves each
# example's own gradients at the outputs, side by side. Here it is for any layer:


# %%
def bias_gradients(layer, losses_of):
    """(B, d): every example's own gradient at the bias of a layer, from one backward pass"""
    outputs = []
    hook = layer.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    losses = losses_of()  # (B,)
    hook.remove()
    (at_output,) = torch.autograd.grad(losses.sum(), outputs)  # (B, T, d)
    return at_output.sum(1)


# %% [markdown]
# Three examples of two tokens each, width two, every tensor printed. Add up one pair of rows of *gradient at y* yourself.
#
# **Predict:** the loss of the last example is multiplied by zero. What will its row of gradients be?

# %%
generator = torch.Generator().manual_seed(0)
layer = torch.nn.Linear(2, 2).double()
layer.weight.data, layer.bias.data = torch.eye(2).double(), torch.ones(2).double()
x = torch.randn(3, 2, 2, generator=generator, dtype=torch.float64)  # (B, T, d)
weight = torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64)  # (B,)


def tiny_losses(y, weight=weight):  # (B, T, d), (B,) -> (B,)
    return weight * y.tanh().prod(-1).sum(-1)


y = layer(x)  # (B, T, d): x + 1, since W is the identity and b is 1
losses = tiny_losses(y)  # (B,)
(at_output,) = torch.autograd.grad(losses.sum(), y, retain_graph=True)  # (B, T, d)
gradients = bias_gradients(layer, lambda: tiny_losses(layer(x)))  # (B, d)
shown = {"x": x, "y": y, "losses": losses, "gradient at y": at_output, "gradient at b": gradients}
for name, tensor in shown.items():
    print(name, tensor.detach().numpy().round(3), sep="\n")

# %% tags=["nbval-check-output"]
alone = [torch.autograd.grad(loss, layer.bias, retain_graph=True)[0] for loss in losses]  # B × (d,), a pass an example
print("the same as one example at a time:", torch.allclose(gradients, torch.stack(alone), atol=1e-12))

# %% [markdown]
# ### Exercise 2: from gradients to Fisher
#
# You get the gradients at a layer's output, shape (B, T, d), of the sum of all log-likelihoods. Return the layer's Fisher information: one
# number, the mean over examples and elements. What comes first, the sum over tokens or the square?


# %% tags=["stub", "nbval-check-output"]
def fisher(at_output):
    """(B, T, d) -> one number"""
    return ...


check.l04_fisher(fisher)


# %% tags=["solution", "nbval-check-output"]
def fisher(at_output):
    """(B, T, d) -> one number"""
    return at_output.sum(1).square().mean()


check.l04_fisher(fisher)

# %% [markdown]
# Now a real model in float64, sixteen sentences, the value bias of its first layer: by hand, one by one, and from the library.

# %%
calm = load_model("bert", task, dtype=torch.float64).eval()
few, tokenizer = task.train.select(range(16)), load_tokenizer(calm)
labels = torch.tensor(few["label"])  # (B,)
batch = tokenizer(list(few["sentence"]), padding=True, return_tensors="pt")
value = calm.base_model.encoder.layer[0].attention.self.value

by_hand = bias_gradients(value, lambda: cross_entropy(calm(**batch).logits, labels, reduction="none"))  # (B, d)
one_by_one = []
for sentence, label in zip(few["sentence"], labels, strict=True):
    loss = cross_entropy(calm(**tokenizer(sentence, return_tensors="pt")).logits, label[None])
    one_by_one += torch.autograd.grad(loss, value.bias)  # (d,)
library = per_example_gradients(calm, batch, labels)  # {term: (B, L, d)}

# %% tags=["nbval-check-output"]
print("by hand, the same as one by one:", torch.allclose(by_hand, torch.stack(one_by_one), rtol=1e-6, atol=1e-12))
print("by hand, the same as the library:", torch.allclose(by_hand, library["value"][:, 0], rtol=1e-6, atol=1e-12))

# %% [markdown]
# One by one, a sentence has no padding; so padding does no harm.
#
# ### Whose labels?
#
# What we have is the **empirical** Fisher: it takes the labels in the data. What statistics calls Fisher information draws the label *from the model
# itself*, and has no use for ours:
#
# $$ F_\text{true} = \frac1N\sum_n \sum_y p(y \mid x_n) \left(\frac{\partial \log p(y\mid x_n)}{\partial b}\right)^2 $$
#
# With two classes we can see how they differ. Let $p$ be the probability of the right label and $h$ the gradient of the difference between the
# two logits. Then the right label pulls with $(1-p)\,h$ and the wrong one with $-p\,h$. The two Fishers of this one example are
#
# $$ \text{empirical: } (1-p)^2\,h^2, \qquad \text{true: } p\,(1-p)^2\,h^2 + (1-p)\,p^2\,h^2 = p\,(1-p)\,h^2. $$

# %% [markdown]
# ### Exercise 3: right, and sure of it
#
# The model gives the right label $p = 0.9$. Divide the example's empirical Fisher by its true one.

# %% tags=["stub", "nbval-check-output"]
my_ratio = ...

check.l04_sure(my_ratio)

# %% tags=["solution", "nbval-check-output"]
my_ratio = 0.1**2 / (0.9 * 0.1)  # (1 - p) / p

check.l04_sure(my_ratio)

# %% [markdown]
# **Predict:** a new head guesses, $p \approx \tfrac12$. How far apart are the two Fishers there? And if we make the head *surer* by
# multiplying its weights: does the empirical Fisher get larger or smaller than the true one (a) if every label agrees with the model,
# (b) if about half of them do not?


# %%
def ratios(sure):
    """Empirical over true Fisher of the value bias, the head's weights multiplied by ``sure``"""
    surer = deepcopy(calm)
    for parameter in surer.classifier.parameters():
        parameter.data *= sure
    p = surer(**batch).logits.softmax(-1).detach()  # (B, 2)
    pulls = [per_example_gradients(surer, batch, torch.full_like(labels, y))["value"] for y in (0, 1)]  # 2 × (B, L, d)
    squares = torch.stack([pull.square().mean((1, 2)) for pull in pulls], 1)  # (B, 2): for each label
    drawn = torch.multinomial(p, 1000, replacement=True, generator=generator)  # (B, 1000) labels from the model
    picked = {"as in the data": labels[:, None], "as the model says": p.argmax(1)[:, None], "drawn from the model": drawn}
    true = (p * squares).sum(1).mean()
    return {name: (squares.gather(1, y).mean() / true).item() for name, y in picked.items()}


apart = pd.DataFrame({f"head × {sure}": ratios(sure) for sure in (1, 10, 100)}).T
show(apart, "Fisher with these labels, over the true one (summed over both labels)")

# %% tags=["nbval-check-output"]
print("new head, less than a fifth apart:", bool((apart.loc["head × 1"] - 1).abs().max() < 0.2))
print("surer, labels all right: smaller; labels as in the data: larger:",
      bool(apart.loc["head × 100", "as the model says"] < 0.8), bool(apart.loc["head × 100", "as in the data"] > 1))  # fmt: skip
print("drawn labels are right on average, to a fifth:", bool((apart["drawn from the model"] - 1).abs().max() < 0.2))

# %% [markdown]
# At a new head the two hardly differ. Later they do: where a model is right and sure, its own data hardly pull, and where it is sure and wrong,
# they pull very hard.

# %% [markdown]
# ### Clipped, averaged, squared
#
# The paper's research code takes neither. It trains as usual, with batches of 16, and squares what is at hand: the gradient of the *mean* loss of a
# batch, clipped to length 1, at a head that was never trained:
#
# $$ C = \frac1K\sum_{k=1}^{K} \operatorname{clip}\Bigl(\tfrac1B \sum_{n\in k} g_n\Bigr)^2 $$
#
# The mean comes before the square, so examples that pull in opposite directions cancel, like term *c* above.
#
# **Predict:** if the pulls were independent, with mean zero, how much smaller than the per-example Fisher would $C$ be, for $B = 16$?

# %% [markdown]
# A sixteenth: the sum squares to 16 squares on average, and the mean divides by $16^2$. Pulls that share a direction give more, opposite ones and
# clipping less.
#
# And *where* does one stand? At the pretrained weights with a new, random head; with a head that was trained alone before ("warm"); or after
# the probe, as in section 1. We try all of it on the same sentences. (About half a minute.)
#
# **Predict:** by what factor will the column *value* change from row to row? And *value / query*? Will the choice change?

# %%
measured = {
    "new head, empirical": fisher_information(model, task, "empirical", where="pretrained"),
    "new head, true": fisher_information(model, task, "true", where="pretrained"),
    "new head, clipped batch mean": fisher_information(model, task, "clipped_batch", where="pretrained"),
    "warm head, empirical": fisher_information(model, task, "empirical", where="warm", max_steps=60),
    "warm head, true": fisher_information(model, task, "true", where="trained"),  # the head is warm by now
    "after the probe, empirical": pulled,
}
kinds = pd.DataFrame({name: dict(seen.ranking()) for name, seen in measured.items()}).T[["query", "key", "value"]]
kinds["value / query"], kinds["chooses"] = kinds["value"] / kinds["query"], [seen.best for seen in measured.values()]
kinds["value, over the first row's"] = kinds["value"] / kinds["value"].iloc[0]
show(kinds, "Fisher information of the three terms, six ways")

# %% tags=["nbval-check-output"]
print("key is rounding noise in every row:", bool((kinds["key"] < 1e-6 * kinds["query"]).all()))
print("clipped batch mean below a quarter of per-example:", bool(kinds["value, over the first row's"].iloc[2] < 0.25))
print("new head, empirical and true within a fifth:", bool(abs(kinds["value, over the first row's"].iloc[1] - 1) < 0.2))

# %% [markdown]
# Read the last column first. The clipped batch mean is another quantity, and much smaller; *where* one stands matters less on this run, and whose
# labels hardly at all, because after sixty steps the model is sure of nothing yet. Then read *value / query* and *chooses*: a ranking of three
# asks for little, and can survive all of that. If you need the number, say which one it is.

# %% [markdown]
# ## 4. Which ruler picks the term that does best?
#
# The slow way: tune each term **alone**, on many tasks and
# seeds, each at a learning rate of its own (chosen on a held-out quarter of train), and look who did best. We did, in hundreds of trainings, and
# read the rulers off the same runs: MiniLM on *mini* and on the real RTE and CoLA, and the two **pocket** encoders, small models made for this
# course (appendix).
#
# **Predict:** how often will each ruler name the best term? Three terms, so a blind draw gets about a third. How often would somebody be right who says
# "value" *without looking*?

# %%
from beft_lib.cautions import notes
from beft_lib.comparing import agreement, performance
from beft_lib.verdicts import MEASURE, alike, by_model, lost, plain, points, shipped, told

measurements = shipped("rulers*.json", with_biases=True)
if not measurements:
    print(f"No measurements here yet. This makes them, in hours: {MEASURE}")

# %%
if measurements:
    shown = ["picks", "right", "low", "high", "lost", "lost when wrong", "share lost", "cost", "tau"]
    show(agreement(measurements).set_index("ruler")[shown], "Every ruler against measured performance")

# %% [markdown]
# How to read it. A *cell* is one model, one task and one seed. The last lines are rules that look at nothing, to be beaten.
#
# - **picks**: how often it named q, k and v.
# - **right**: the share of cells in which its pick did best, with a 95 % interval from **low** to **high**.
# - **lost**: performance given away, in the metric's unit; **lost when wrong**, over the wrong picks alone; **share lost**, of what head only
#   leaves to gain, one scale for unlike metrics.
# - **cost**: seconds, relative to one full fine-tuning (finding a rate not counted).
# - **tau**: how well its order of the three terms agrees with the measured order, from −1 to 1.
#
# **output change** asks what share of attention's output a term's move makes, on training examples; **loss without**, how much worse
# the loss gets if that move is taken out. Both are read after the same probe as importance (lesson 07).
#
# Look at **picks** again, at the k. In these encoders the key bias can do *nothing*. A ruler that names it has been fooled by rounding noise
# (section 1), or, *loss without*, finds both other moves harmful. *output change* cannot make this mistake, because it looks at what the move does.
#
# Compare *importance*, *at random* and the best *always*: is looking worth it?

# %%
if measurements:
    say(plain(measurements))

# %% [markdown]
# That is the lesson's result, not what the paper leads one to expect. It is no test of the paper's recipe: these probes ran eight or twelve
# epochs at the rate that suited all biases, mostly far above the paper's. Nor does it prove the rulers useless: query and value are often nearly
# tied (table "Mean performance" below), and then there is little to find. A choice is a *suggestion*; only tuning tells its worth.
#
# **Predict:** does it hold for each model?

# %%
if measurements:
    show(by_model(measurements), "Cells in which the choice was the best term")

# %% [markdown]
# MiniLM's importance never names the dead key. It says "value" in every cell, so it is as right as somebody who always does. The rest:

# %%
if measurements:
    say(told(measurements))

# %% [markdown]
# Three cautions:
#
# - A ruler that always names the same term has not *looked* at your task, however often it is right.
# - Where no term beats head only, there is nothing to pick, and every ruler's hit is luck.
# - Cells share models and tasks: they are fewer independent trials than their number says.
#
# As in the paper's figure, here is every score beside what it should predict: across, a term's share of the ruler's three scores; upwards, what that
# term, tuned alone, gains, as a share of what head only leaves. **Predict:** if the *score*, and not only the order, told how much a term is worth, how would the points lie?

# %%
if measurements:
    show(score_against_performance(points(measurements)))

# %% [markdown]
# They would rise along one line. Marks in a column say that the score is the same whatever the gain. On
# pocket-bert there is a reason: trained long at a high rate, importance mostly ends above 0.8, and a share of three equal numbers is a third.
#
# Then the losses, task by task. Rulers that lose the same everywhere share a column.

# %%
if measurements:
    show(lost_heatmap(alike(lost(measurements))))

# %% [markdown]
# Last, the performances. **Predict:** in how many rows will the test of value against query come out below 0.05?

# %%
if measurements:
    columns = ["metric", "seeds", "head", "query", "key", "value", "all_biases", "p"]
    found = performance(measurements).set_index(["model", "task"])[columns]
    show(found, "Mean performance; p: paired test of value against query over the seeds")
    print(f"p below 0.05 in {(found['p'] < 0.05).sum()} of {len(found)} rows; by luck alone {0.05 * len(found):.1f} would be")

# %% [markdown]
# Where *all_biases* does better than the three columns before it, the reason to choose is the size of the file, not the score (lesson 05).
#
# Many models have no biases. One can add some of zero (lesson 07): importance is then 1 for any move, the other rulers work, and with
# rotary positions the key is alive. **Predict:** will they do better?

# %%
bare = shipped("rulers*.json", with_biases=False)
if bare:
    show(agreement(bare).set_index("ruler")[shown], "The same for pocket-llama, which was given biases of zero")
    show(performance(bare).set_index("task")[["head", "query", "key", "value", "all_biases"]], "Its mean performance")
    say(notes(bare))

# %% [markdown]
# Here magnitude is ahead of the rules that look at nothing (the intervals still overlap), and *loss without* too; where no term is shown to
# help, it may be luck. All terms start at zero: no old length can mislead. It is one model.
#
# ### Exercise 4: choose, and defend it
#
# You will tune one term on a task of your own, and may use one ruler (or one of the rules that do not look). Which? Write two or three sentences: what speaks
# for it, with a number from this lesson; what it cannot see; what else you considered. The check only looks at whether it is a defence.

# %% tags=["stub", "nbval-check-output"]
my_ruler = ...  # a name from the table above, such as "magnitude" or "always value"
my_defence = ...

check.l04_defend(my_ruler, my_defence)

# %% tags=["solution", "nbval-check-output"]
my_ruler = "importance, early stop"
right = agreement(measurements).set_index("ruler")["right"]
my_defence = f"""It was right in {right[my_ruler]:.0%} of the cells of section 4, for a short probe, and does not depend on the unit.
But always value was right in {right['always value']:.0%}, and looks at nothing. My ruler cannot see whether the loss fell, and short
vectors score high, so I would tune head only as well, and compare with always value."""
check.l04_defend(my_ruler, my_defence)

# %% [markdown]
# ## Quick questions
#
# Choose an answer, and you are told about it at once.

# %%
beft_lib.quiz("04")

# %% [markdown]
# ## Recap
#
# - Importance asks how much a vector changed compared with itself, magnitude how far it went, Fisher how hard single examples pull.
# - Each is blind to something: importance to size, magnitude to place and direction, Fisher to the move. Magnitude and Fisher depend on the unit.
# - A bias's per-example gradient is a sum over tokens of the gradient at its layer's output. One backward pass gives all of them.
# - Empirical, true and clipped-batch Fisher are three quantities. Always say which one it is, and where it was measured.
# - A ruler is worth what it adds to a rule that looks at nothing. On the encoders measured here no ruler was right more often than "always value",
#   and on the pocket models the whole probe's importance fell for the dead key. On the one model without biases, magnitude was, within the intervals.

# %% [markdown]
# ## Where next
#
# - **05 · BEFT on BERT**: the chosen term against all biases and full fine-tuning, with intervals.
# - **07 · Any Transformer**: models whose key bias is alive, and models without any.
#
# Fisher information as a ruler of parameters, and the difference between empirical and true: Kunstner, Balles and Hennig, arXiv 1905.12558. The three rulers
# side by side: Huang, Balashankar and Aminifar, *BEFT*, arXiv 2509.15974. Magnitude: BitFit, arXiv 2106.10199.
