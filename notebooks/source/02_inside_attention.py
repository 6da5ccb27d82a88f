# %% [markdown]
# # 02 · Inside attention
#
# **The one idea:** the three biases enter attention at three different places, and the place alone decides what each can do. One of
# them, it will turn out, can do nothing.
#
# **After this lesson you can**
#
# - predict, before you run anything, what happens to a model when one of its biases is moved;
# - prove in three lines that the key bias of BERT does nothing, and say where the proof fails for Llama;
# - fold a value bias into the next layer without changing the model;
# - read the tilt of a query bias off an attention map;
# - explain how Adam, a number format or weight decay can make a dead bias look alive.
#
# **Time:** about 50 minutes with the exercises. The code itself runs for at most 1 minute in the profile `laptop`, 1 minute in `pocket`, on two CPU cores.
#
# **You need:** lesson 01, matrix products, and a rough idea of what attention is. We build it again in five lines.

# %%
beft_lib.start("02")

# %% [markdown]
# The names we need: `find_biases` and `shifted` reach into a model, `attention_drawing` and `attention_maps` draw.

# %%
from copy import deepcopy

import pandas as pd
import torch

from beft_lib import checks as check
from beft_lib import find_biases, importance, load_model, load_task, load_tokenizer, shifted, snapshot
from beft_lib.display import show
from beft_lib.plots_attention import attention_maps
from beft_lib.plots_biases import attention_drawing
from beft_lib.widget_attention import attention_explorer

# %% [markdown]
# ## 1. One head, by hand
#
# A sentence enters a layer as $T$ vectors, one for each token (a word or a piece of one). From each vector $x_i$ an attention *head*
# makes three others:
#
# $$ q_i = W_q x_i + b_q, \qquad k_i = W_k x_i + b_k, \qquad v_i = W_v x_i + b_v $$
#
# Read them as: what token $i$ asks (its **query**), what it answers to (its **key**), and what it hands over when somebody listens
# (its **value**). Here is where they go, and where each bias enters:

# %%
show(attention_drawing())

# %% [markdown]
# How well key $j$ fits query $i$ is their dot product, the attention **logit**. A **softmax** turns the logits of one query into
# weights that are positive and sum to 1, and the output is the mean of the values with these weights:
#
# $$ s_{ij} = \frac{q_i \cdot k_j}{\sqrt d}, \qquad a_{ij} = \frac{e^{s_{ij}}}{\sum_m e^{s_{im}}}, \qquad z_i = \sum_j a_{ij}\, v_j $$
#
# Here is all of it as a function, for one head of width $d$.


# %%
def attend(x, W_q, W_k, W_v, b_q, b_k, b_v):
    """(T, d), three (d, d), three (d,) -> weights (T, T), outputs (T, d)"""
    q, k, v = x @ W_q.T + b_q, x @ W_k.T + b_k, x @ W_v.T + b_v  # (T, d) each
    logits = q @ k.T / q.shape[-1] ** 0.5  # (T, T)
    weights = torch.softmax(logits, dim=-1)  # (T, T), each row sums to 1
    return weights, weights @ v


# %% [markdown]
# Three tokens of width two, every tensor printed. A **row** of the logits belongs to one query, a **column** to one key. Check one
# logit with pencil and paper: a row of q times a row of k, divided by $\sqrt 2$.

# %%
generator = torch.Generator().manual_seed(0)
x = torch.randn(3, 2, generator=generator, dtype=torch.float64)  # (T, d)
W_q, W_k, W_v = torch.randn(3, 2, 2, generator=generator, dtype=torch.float64)  # (d, d) each
b_q, b_k, b_v = torch.randn(3, 2, generator=generator, dtype=torch.float64)  # (d,) each
weights, outputs = attend(x, W_q, W_k, W_v, b_q, b_k, b_v)
q, k, v = x @ W_q.T + b_q, x @ W_k.T + b_k, x @ W_v.T + b_v  # (T, d) each
shown = {"q": q, "k": k, "v": v, "logits": q @ k.T / 2**0.5, "weights": weights, "outputs": outputs}
for name, tensor in shown.items():
    print(name, tensor.numpy().round(3), sep="\n")

# %% [markdown]
# PyTorch has the same in one call. It must agree with ours:

# %% tags=["nbval-check-output"]
library = torch.nn.functional.scaled_dot_product_attention(q[None], k[None], v[None])[0]  # (T, d)
print("the same outputs:", torch.allclose(outputs, library, atol=1e-12))

# %% [markdown]
# ## 2. Move the biases
#
# Below is one head of four tokens. The sliders move its three biases, two numbers each. On the left you see the attention map: row
# *cat* says how *cat* spreads its attention, in percent. On the right each output is a point in the plane, hollow where it is
# without biases and filled where it is now. (With the keyboard: Tab to a slider, then the arrow keys. If you see no sliders, your
# viewer does not run widgets, and the picture shows one position.)
#
# **Predict** first, for each pair of sliders: will the map change, will the points move, and will all rows (or all points) do the
# same?

# %%
attention_explorer(query=(1.0, 0.0))

# %% [markdown]
# Things to try:
#
# 1. All biases to zero, then only $b_k$, as far as it goes.
# 2. Only $b_v$. Compare the paths of the four points.
# 3. Only $b_q$. Can you make *every* token look at *cat* with more than half of its attention?
# 4. Only $b_k$ again, and now tick *rotary positions*.

# %% [markdown]
# <details>
# <summary><b>What you should have seen</b> (open it after you have tried)</summary>
#
# 1. Nothing moves, however far you go. Section 3 proves it.
# 2. The map stays. All points move together, by exactly $b_v$. Section 4.
# 3. The column that $b_q$ favours most gets brighter in every row, and the one it favours least darker; those between depend on the row,
#    since each row sums to 100. Pointing $b_q$ along a token's key makes everybody look there. Section 5.
# 4. The map changes. Section 6.
#
# </details>

# %% [markdown]
# ## 3. The key bias does nothing
#
# One fact about softmax is all we need.
#
# ### Exercise 1: a shifted row
#
# The softmax of (1, 2, 3) is about (0.09, 0.24, 0.67). What is the softmax of (101, 102, 103)? Use no computer. Two digits are enough.

# %% tags=["stub", "nbval-check-output"]
my_prediction = [..., ..., ...]

check.l02_shifted_row(my_prediction)

# %% tags=["solution", "nbval-check-output"]
my_prediction = [0.09, 0.24, 0.67]  # e^100 stands above and below the line, and cancels

check.l02_shifted_row(my_prediction)

# %% [markdown]
# Now the proof, in three lines. Write $\tilde k_j = W_k x_j$ for a key without its bias, and $\tilde s_{ij} = q_i \cdot \tilde k_j / \sqrt d$ for its logit.
#
# $$ s_{ij} \;=\; \frac{q_i \cdot k_j}{\sqrt d} \;=\; \tilde s_{ij} \;+\; \frac{q_i \cdot b_k}{\sqrt d} \qquad\text{(the key is a sum)} $$
#
# $$ c_i = \frac{q_i \cdot b_k}{\sqrt d} \;\text{ does not depend on } j \qquad\text{(the whole row gets the same number)} $$
#
# $$ \frac{e^{\tilde s_{ij} + c_i}}{\sum_m e^{\tilde s_{im} + c_i}} = \frac{e^{c_i}\, e^{\tilde s_{ij}}}{e^{c_i} \sum_m e^{\tilde s_{im}}} = \frac{e^{\tilde s_{ij}}}{\sum_m e^{\tilde s_{im}}} \qquad\text{(softmax does not see it)} $$

# %% [markdown]
# Each query may get a different number $c_i$, but each row has a softmax of its own. So the weights are what they would be without $b_k$,
# for every input, every $W$, and every $b_k$.
#
# **Predict:** we replace $b_k$ of our tiny head by (100, -70). Which of the tensors printed above change: k, the logits, the weights,
# the outputs?

# %% tags=["nbval-check-output"]
far = torch.tensor([100.0, -70.0], dtype=torch.float64)  # (d,)
moved_weights, moved_outputs = attend(x, W_q, W_k, W_v, b_q, far, b_v)
moved_logits = q @ (k - b_k + far).T / 2**0.5  # (T, T)
print("logits moved by more than 1:", bool((moved_logits - q @ k.T / 2**0.5).abs().max() > 1))
print("weights moved:", not torch.allclose(moved_weights, weights, atol=1e-12))
print("outputs moved:", not torch.allclose(moved_outputs, outputs, atol=1e-12))

# %% [markdown]
# ### In a whole model
#
# A model has many layers and heads, and between them things that are not attention at all. The proof covers them too: if the output of
# the first attention does not change, nothing behind it can know. Let us see. We load the encoder of your profile in float64, so that
# rounding cannot hide anything, and four sentences for it to read.

# %%
task = load_task("sst2")
model = load_model("bert", task, dtype=torch.float64, attn_implementation="eager").eval()
tokenizer = load_tokenizer(model)
batch = tokenizer(list(task.validation.select(range(4))["sentence"]), padding=True, return_tensors="pt")
lengths = {term: vectors.norm(dim=-1) for term, vectors in snapshot(find_biases(model)).items()}  # {term: (L,)}
show(pd.DataFrame(lengths).rename_axis("layer"), "Length of each bias")

# %% [markdown]
# The next function adds a random number of size 1 to every element of one term, in all layers at once. For a width of 384 that is a
# vector about 20 long. `shifted` undoes it when the block ends.
#
# **Predict:** for each of the three terms, does the attention in the *first* layer change? Do the answers of the model change?


# %%
@torch.no_grad()
def perturb(term):
    """Largest change of a weight in the first layer's attention, and of an answer's logit"""
    before = model(**batch, output_attentions=True)
    shape = find_biases(model)[term].values().shape  # (L, d)
    move = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with shifted(model, term, move):
        after = model(**batch, output_attentions=True)
    attention = (after.attentions[0] - before.attentions[0]).abs().max().item()
    return {"attention, first layer": attention, "answer": (after.logits - before.logits).abs().max().item()}


changes = pd.DataFrame({term: perturb(term) for term in ("query", "key", "value")}).T
show(changes.map("{:.1e}".format), "Largest change when a bias is moved at random")
with torch.no_grad():
    print(f"mean size of a logit of the answer, before: {model(**batch).logits.abs().mean():.1e}")

# %% tags=["nbval-check-output"]
print("key changes attention or answer:", bool((changes.loc["key"] > 1e-10).any()))
print("query changes both:", bool((changes.loc["query"] > 1e-6).all()))
print("value leaves the attention of the first layer as it was:", bool(changes.loc["value"].iloc[0] == 0))
print("value changes the answer:", bool(changes.loc["value"].iloc[1] > 1e-6))

# %% [markdown]
# A number such as `1e-16` is what float64 leaves over when it adds the same numbers in another way: zero, for all we can know.
# The answers are small numbers, too: the new layer that answers (also called *head*) is untrained, so compare a change with the size printed below the table.
#
# *value* leaves the first map alone and still changes the answer. That is the subject of section 4. (Maps of later layers do change,
# because their input has.)
#
# What cannot change the loss has no gradient either.
#
# **Predict:** we ask for the gradients of all three biases in the first layer. Which is longest, and how long is the key's?

# %%
first = model.base_model.encoder.layer[0].attention.self  # the first layer's attention
labels = torch.tensor(list(task.validation.select(range(4))["label"]))
model(**batch, labels=labels).loss.backward()
gradients = {term: getattr(first, term).bias.grad.norm().item() for term in ("query", "key", "value")}
for term, length in gradients.items():
    print(f"{term:5}  {length:.1e}")

# %% tags=["nbval-check-output"]
print("key below a billionth of query:", gradients["key"] < 1e-9 * gradients["query"])

# %% [markdown]
# Two consequences, which you will meet in every lesson from here on.
#
# - **Tuning "the key bias" is tuning the head only.** The head (the new layer that gives the answer) is trained along with every
#   bias, and the key bias adds nothing. So a row called $b_k$ in a table of results is a *baseline*: what one gets without any bias.
#   Where it differs from the row "head only", you are looking at chance.
# - **Its length is an accident.** BERT's biases are zero when pretraining begins, and nothing ever pulls on $b_k$. This is why MiniLM's
#   key biases in the table above are so short. What length they have probably came from rounding noise that Adam turned into
#   steps, as section 7 shows.

# %% [markdown]
# ## 4. The value bias passes straight through
#
# Put $v_j = \tilde v_j + b_v$ into the output and use that the weights of a row sum to 1:
#
# $$ z_i \;=\; \sum_j a_{ij}\,(\tilde v_j + b_v) \;=\; \sum_j a_{ij}\,\tilde v_j \;+\; b_v \underbrace{\sum_j a_{ij}}_{=\,1} $$
#
# It comes out as it went in: the same vector for every token and every pattern of attention. Behind attention there is
# another linear layer, the **output projection**, which mixes the heads: $W_o z_i + b_o$. Since $b_v$ is a constant, so is what
# becomes of it there, and the layer's own bias $b_o$ can take it over.

# %% [markdown]
# ### Exercise 2: fold it in
#
# Which output bias makes up for a $b_v$ that was set to zero? (Write $W_o(\tilde z_i + b_v) + b_o$ without the parentheses.)


# %% tags=["stub", "nbval-check-output"]
def folded(W_o, b_o, b_v):
    """(d, d), (d,), (d,) -> the new output bias (d,)"""
    return ...


check.l02_fold(folded)


# %% tags=["solution", "nbval-check-output"]
def folded(W_o, b_o, b_v):
    """(d, d), (d,), (d,) -> the new output bias (d,)"""
    return b_o + W_o @ b_v


check.l02_fold(folded)

# %% [markdown]
# **Predict:** we do this in every layer of the model, so that no value bias is left. How much will its answers change? And what if we
# set the value biases to zero *without* folding?


# %%
@torch.no_grad()
def without_values(model, fold):
    """A copy with every value bias zero; folded into the output projection, or lost"""
    twin = deepcopy(model)
    for layer in twin.base_model.encoder.layer:
        value, output = layer.attention.self.value, layer.attention.output.dense
        if fold:
            output.bias += output.weight @ value.bias  # (d,) += (d, d) @ (d,)
        value.bias.zero_()
    return twin


# %% tags=["nbval-check-output"]
with torch.no_grad():
    answer = model(**batch).logits  # (B, 2)
    kept = (without_values(model, fold=True)(**batch).logits - answer).abs().max()
    lost = (without_values(model, fold=False)(**batch).logits - answer).abs().max()
print("folded: the same answers to ten digits:", bool(kept < 1e-10))
print("not folded: other answers:", bool(lost > 1e-4))

# %% [markdown]
# So $b_v$ is a constant vector that every token receives in every layer, and the model has a second place for the same constant. That
# sounds like little. Why does training it help at all?
#
# Because what follows is not linear. The constant is added to each token, then a normalisation and a feed-forward network come, whose
# neurons switch on and off. A constant shifts the point at which they switch, and so the *same* shift acts
# differently on different words. This is also why its gradient is long: nothing stands between it and the output, while $b_q$ has to
# go through a softmax first.
#
# The folding is exact while the rows sum to 1. **Dropout** on the attention weights, which BERT uses in training, breaks that by a
# little, and so do models whose softmax has a *sink* that takes part of the sum.

# %% [markdown]
# ## 5. The query bias is a tilt
#
# The same game a third time. With $\tilde q_i = W_q x_i$:
#
# $$ s_{ij} = \frac{(\tilde q_i + b_q)\cdot k_j}{\sqrt d} = \frac{\tilde q_i\cdot k_j}{\sqrt d} + \frac{b_q \cdot k_j}{\sqrt d} $$
#
# Look at which letters the last term has. There is a $j$ in it, so softmax does not cancel it. There is no $i$: it is the same for
# every query. Key $j$ gets a bonus or a penalty, whoever asks. We call these $T$ numbers the **tilt**.

# %% [markdown]
# ### Exercise 3: compute the tilt
#
# `b_q` has shape (d,), `k` has shape (T, d). Return what the query bias adds to the logit of each key: shape (T,).


# %% tags=["stub", "nbval-check-output"]
def tilt(b_q, k):
    """(d,), (T, d) -> (T,)"""
    return ...


check.l02_tilt(tilt)


# %% tags=["solution", "nbval-check-output"]
def tilt(b_q, k):
    """(d,), (T, d) -> (T,)"""
    return k @ b_q / b_q.shape[-1] ** 0.5


check.l02_tilt(tilt)

# %% [markdown]
# Now in the pretrained model. A layer has several heads, each with its own part of $b_q$ and of the keys. We let the model read one
# short sentence with its query biases and without them, and pick the head of the first layer whose map changes most. (In some heads
# the logits are so far apart that even a large tilt hardly shows.) Here is the tilt of that head:

# %%
sentence = min(task.validation["sentence"], key=len)
one = tokenizer(sentence, return_tensors="pt")
with torch.no_grad():
    tilted = model(**one, output_attentions=True).attentions[0][0]  # (H, T, T)
    with shifted(model, "query", -find_biases(model)["query"].values()):
        level = model(**one, output_attentions=True).attentions[0][0]  # (H, T, T)
chosen = int((tilted - level).abs().mean((1, 2)).argmax())

# %%
tokens, heads = tokenizer.convert_ids_to_tokens(one["input_ids"][0]), len(tilted)
with torch.no_grad():
    entering = model.base_model.embeddings(one["input_ids"])[0]  # (T, d): what the first layer reads
    keys = first.key(entering).view(len(tokens), heads, -1)[:, chosen]  # (T, d / H)
    its_bias = first.query.bias.view(heads, -1)[chosen]  # (d / H,)
    bonus = keys @ its_bias / its_bias.shape[-1] ** 0.5  # (T,)
bonus = bonus - bonus.mean()  # softmax would not see a common part
show(pd.DataFrame({"tilt": bonus}, index=tokens), f"Layer 0, head {chosen}: what b_q adds to each key's logit")

# %% [markdown]
# A tilt of 1 more multiplies a key's weight by $e$, about 2.7, before the row is made to sum to 1 again.
#
# **Predict:** with this table, which columns of the map will gain with $b_q$, and which will lose? In which rows?

# %%
show(attention_maps({"without $b_q$": level[chosen], "with $b_q$": tilted[chosen]}, tokens))

# %% [markdown]
# The columns with the highest tilt gain and those with the lowest lose, whatever the row. The claim is sharper than the picture: if we
# divide the right map by the left and take out the tilt, each row should be left with one number, its normaliser.

# %% tags=["nbval-check-output"]
left_over = tilted[chosen].log() - level[chosen].log() - bonus  # (T, T)
spread = (left_over - left_over[:, :1]).abs().max()  # within a row
print("the tilt explains the whole difference:", bool(spread < 1e-9))
print("and there was a difference:", bool((tilted - level)[chosen].abs().max() > 0.01))

# %% [markdown]
# So $b_q$ is a head's opinion on which tokens are worth looking at, whoever looks. It cannot send one token here and another one
# there: that takes a query that knows who asks, which is the job of $W_q$.
#
# The drawing from the beginning once more, with what we know now:

# %%
show(attention_drawing(effects=True))

# %% [markdown]
# ## 6. Rotary positions break the rule
#
# BERT says where a word stands by adding a position vector to it *before* the first layer. GPT-2 and OPT do the same.
# Llama, Qwen and most newer models use **rotary positions** instead: they make query and key, biases included, and then *turn* each of
# them by an angle that grows with its position. With $R_i$ for the turn at position $i$:
#
# $$ s_{ij} = \frac{(R_i\, q_i) \cdot (R_j\, k_j)}{\sqrt d} $$
#
# **Predict:** which of the three lines of our proof fails now?

# %% [markdown]
# <details>
# <summary><b>Answer</b></summary>
#
# The second. What the key bias adds is $(R_i q_i) \cdot (R_j b_k) / \sqrt d$, and there is a $j$ in it now: the bias is turned together with the
# key. It acts like a preference for certain *distances*, since only the difference of two turns matters.
#
# </details>

# %% [markdown]
# In two dimensions a turn is four products. Below, `turned` turns row $i$ by $i$ radians. We print what the key bias of our tiny head
# adds to each logit, first without turning, then with.


# %%
def turned(rows):
    """(T, 2) -> (T, 2): row i turned by i radians"""
    a = torch.arange(len(rows), dtype=rows.dtype)  # (T,)
    left, right = rows.T  # (T,), (T,)
    return torch.stack([a.cos() * left - a.sin() * right, a.sin() * left + a.cos() * right], dim=-1)


same_bias = b_k.expand(3, 2)  # (T, d): one bias, for three keys
plain, rotary = q @ same_bias.T / 2**0.5, turned(q) @ turned(same_bias).T / 2**0.5  # (T, T), (T, T)
print("plain", plain.numpy().round(3), "rotary", rotary.numpy().round(3), sep="\n")

# %% tags=["nbval-check-output"]
for name, added in {"plain": plain, "rotary": rotary}.items():
    constant = bool((added - added[:, :1]).abs().max() < 1e-12)
    print(f"{name}: the same number along each row: {constant}")

# %% [markdown]
# ### In a whole model
#
# We build two small models with `transformers`: a BERT and a Llama with biases. Their weights are random, and that is honest here,
# because the claim is about the *formula* and has to hold for any weights.
#
# **Predict:** we move every key bias at random. In which of the two does the output change?

# %%
from transformers import BertConfig, BertModel, LlamaConfig, LlamaModel

sizes = dict(vocab_size=50, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64)
torch.manual_seed(0)
bert = BertModel(BertConfig(**sizes, initializer_range=0.2)).double().eval()
llama = LlamaModel(LlamaConfig(**sizes, initializer_range=0.2, attention_bias=True)).double().eval()
words = torch.randint(50, (64, 12), generator=torch.Generator().manual_seed(0))  # (B, T)


# %%
@torch.no_grad()
def key_matters(model, ending):
    """Whether moving every bias whose name has this ending changes what the model puts out"""
    before = model(words).last_hidden_state  # (B, T, d)
    biases = [parameter for name, parameter in model.named_parameters() if name.endswith(ending)]
    assert len(biases) == 2, "one in each layer"
    for bias in biases:
        bias.add_(torch.randn_like(bias))
    return bool((model(words).last_hidden_state - before).abs().max() > 1e-9)


# %% tags=["nbval-check-output"]
print("BERT, key bias: ", key_matters(bert, "key.bias"))
print("BERT, query bias:", key_matters(bert, "query.bias"))
print("Llama, key bias: ", key_matters(llama, "k_proj.bias"))

# %% [markdown]
# The second line is a check on the first: our function does see a bias that matters.
#
# The other two biases keep their character. $b_v$ is never turned, so it still passes straight through. $b_q$ still tilts, but a
# rotary tilt $(R_i b_q) \cdot (R_j k_j)$ depends on how far key and query are apart.

# %% [markdown]
# ### Exercise 4: dead or alive
#
# Three models with key biases:
#
# 1. OPT *learns* a vector for each position and adds it to the words before the first layer.
# 2. Llama (with biases) turns queries and keys, as above.
# 3. BLOOM adds to each logit a penalty for the distance between $i$ and $j$, beside $q_i\cdot k_j$, and turns nothing.
#
# In which is the key bias dead, in which alive?

# %% tags=["stub", "nbval-check-output"]
my_answer = [..., ..., ...]  # "dead" or "alive", for OPT, Llama, BLOOM

check.l02_dead(my_answer)

# %% tags=["solution", "nbval-check-output"]
my_answer = ["dead", "alive", "dead"]  # only where what b_k adds depends on the key's position does it live

check.l02_dead(my_answer)

# %% [markdown]
# ## 7. How a dead bias looks alive
#
# In exact arithmetic the key bias of BERT has no gradient. A computer rounds, so a gradient of `1e-9` or so is left over: noise. With plain
# gradient descent nobody would notice. But the usual optimizer is **Adam**, which divides each gradient by its own typical size:
#
# $$ \text{step} \;=\; -\,\text{lr}\cdot\frac{\text{mean of } g}{\sqrt{\text{mean of } g^2} + \varepsilon} $$
#
# **Predict:** noise of size `1e-9`, and $\varepsilon = 10^{-6}$, $10^{-8}$ or $10^{-12}$. In which case does noise become a full step?

# %% [markdown]
# We try it on the small BERT, with random sentences and a made-up question: do more than two of the first twelve words of the vocabulary
# occur? All three biases and the head are trained, for 200 steps, from the same start. The loop is
# short. (Ten seconds.) We took an initial spread of 0.2 after seeing that at the usual 0.02 the effect is weak.

# %%
from transformers import BertForSequenceClassification

answers = ((words < 12).sum(1) > 2).long()  # (B,)
no_dropout = dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
torch.manual_seed(0)
start = BertForSequenceClassification(BertConfig(**sizes, **no_dropout, initializer_range=0.2))
for term in find_biases(start).values():
    for part in term.parts:
        torch.nn.init.normal_(part.module.bias, std=0.02)  # (d,): a new model has biases of zero


# %%
def train(dtype=torch.float32, eps=1e-6, weight_decay=0.0):
    """200 steps; how far each of the three biases went"""
    model = deepcopy(start).to(dtype)
    pre = snapshot(find_biases(model))
    ours = ("query.bias", "key.bias", "value.bias", "classifier.weight", "classifier.bias")
    trained = [parameter for name, parameter in model.named_parameters() if name.endswith(ours)]
    optimizer = torch.optim.AdamW(trained, lr=1e-3, eps=eps, weight_decay=weight_decay)
    for _ in range(200):
        loss = model(input_ids=words, labels=answers).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return {term: importance(pre[term], post) for term, post in snapshot(find_biases(model)).items()}


# %% [markdown]
# **Predict:** in which of these six rows will the importance of *key* be far from zero? Two are not about $\varepsilon$: one computes in
# **bfloat16**, a format with about three digits, and one has **weight decay**, which pulls every number towards zero at each
# step, gradient or not.

# %%
settings = {
    "float64, eps 1e-12": dict(dtype=torch.float64, eps=1e-12),
    "float32, eps 1e-6": {},
    "float32, eps 1e-8": dict(eps=1e-8),
    "float32, eps 1e-12": dict(eps=1e-12),
    "bfloat16, eps 1e-6": dict(dtype=torch.bfloat16),
    "float32, eps 1e-6, decay 0.1": dict(weight_decay=0.1),
}
scores = pd.DataFrame({name: train(**setting) for name, setting in settings.items()}).T
show(scores.map("{:.4f}".format), "Importance after 200 steps")

# %% tags=["nbval-check-output"]
key = scores["key"]
print("dead in float64:", key["float64, eps 1e-12"] < 1e-6)
print("dead in float32 with eps 1e-6:", key["float32, eps 1e-6"] < 0.005)
print("looks alive with eps 1e-12:", key["float32, eps 1e-12"] > 0.05)
print("looks alive in bfloat16:", key["bfloat16, eps 1e-6"] > 0.05)
print("decay alone shrinks it as predicted:", abs(key["float32, eps 1e-6, decay 0.1"] - (1 - 0.9999**200)) < 0.005)

# %% [markdown]
# In every row the key bias could do nothing. Its score ran from zero to values that one would take for a finding.
#
# - **$\varepsilon$:** once it is below the noise, Adam turns noise into steps. The paper's recipe says `1e-6`. PyTorch's default,
#   `1e-8`, lets a little through already: say yours.
# - **Number format:** bfloat16 makes the noise larger, so that a safe $\varepsilon$ no longer is one.
# - **Weight decay** needs no noise. Each step multiplies by 1 - 0.001 · 0.1 = 0.9999, and a vector that shrinks has a score.

# %% [markdown]
# And remember from lesson 01 that a vector that starts short scores high after any move. A key bias as short as MiniLM's would need far
# less noise than this.
#
# So this course, like the paper's recipe, sets all three: $\varepsilon = 10^{-6}$, no weight decay, float32 for what is trained. That
# makes the noise small, not harmless. MiniLM's dead key then scores next to nothing on RTE and CoLA. In the small models of
# lesson 04, whose key biases are some thirty times shorter still, it reaches scores near 1 after twelve epochs. So **look at the key in every
# run: where it is dead and still scores, something other than the task is moving your biases**, and the ranking is not to be
# trusted.

# %% [markdown]
# ## Quick questions
#
# Choose an answer, and you are told about it at once.

# %%
beft_lib.quiz("02")

# %% [markdown]
# ## Recap
#
# - The key bias can do nothing, the value bias is a constant, the query bias a tilt.
# - $b_k$ adds one number to a whole row of logits, and softmax ignores it. Its row in a table is a head-only baseline.
# - $b_v$ leaves attention as the constant that it was, and folds away: $b_o \leftarrow b_o + W_o b_v$. It never changes its own layer's map.
# - $b_q$ tilts the map: it adds $b_q\cdot k_j/\sqrt d$ to key $j$, whoever asks (without rotary positions).
# - With rotary positions the key bias is turned with its key, so it lives. Where it is dead, a small $\varepsilon$, few digits, weight decay
#   or a long training can still give it a score, the sooner the shorter it was: watch the key.

# %% [markdown]
# ## Where next
#
# - **03 · Training a probe**: all three biases trained at once, step by step. You know now what each is able to do; see what it does.
# - **04 · Magnitude and Fisher**: three measures on one run. A dead bias is a good test for them, too.
# - **07 · Any Transformer**: rotary, fused and bias-free models in earnest.
# - Back to **01 · The importance formula**, to see again why short vectors score high.
#
# The biases are those of BEFT (Huang, Balashankar and Aminifar, arXiv 2509.15974). Rotary positions are from RoFormer (Su and others,
# arXiv 2104.09864), Adam is by Kingma and Ba (arXiv 1412.6980).
