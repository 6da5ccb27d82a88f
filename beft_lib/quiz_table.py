"""The quick questions at the end of every lesson, and what is said to each answer: the rows of ``quizzes.py``.

Plain text, no formulas in TeX: a radio button shows letters only.
"""

from __future__ import annotations

from typing import NamedTuple


class Question(NamedTuple):
    """What is asked, and what is said to each answer: "Yes…" to the right one, "No…" to the others, and why.

    So nothing is told by colour alone; a test holds every row to one right answer and a reason each.
    """

    text: str
    answers: dict[str, str]

    @property
    def right(self) -> str:
        """The answer that is right."""
        return next(answer for answer, said in self.answers.items() if said.startswith("Yes"))


QUIZZES: dict[str, list[Question]] = {
    "00": [
        Question(
            "BEFT has two parts. What is the probe for?",
            {
                "It makes a first version of the model, which is then improved": (
                    "No. It is thrown away: tuning begins at the pretrained model."
                ),
                "It tells which of the three biases to tune": (
                    "Yes. It trains all three for a short while, and the one that moved most is chosen."
                ),
                "It finds out how good the model can get": (
                    "No. That takes a whole tuning, and examples the model has not seen."
                ),
            },
        ),
        Question(
            "A run reaches 78 percent on 200 sentences, head only 75. Both were run once. What may you say?",
            {
                "The bias is worth three points": (
                    "No. One result alone is known to about six points either way, by the sentences drawn."
                ),
                "The bias does nothing": "No. That it did not show here does not mean that it is not there.",
                "Not shown to be better; more seeds or more sentences could tell": (
                    "Yes. The difference is no larger than what luck can do."
                ),
            },
        ),
    ],
    "01": [
        Question(
            "A bias doubles in length and keeps its direction. What is its score?",
            {
                "0.25": "No. The ratio enters once and is not squared: 1 − min(2, 1/2).",
                "0.5": "Yes: the cosine is 1, and the smaller of 2 and 1/2 is 1/2.",
                "1": "No. That is the score of a right angle.",
            },
        ),
        Question(
            "Two terms get exactly the same update, number by number. One of them was a hundred times longer before. "
            "Which one has the higher importance?",
            {
                "The long one": "No. Relative to its length it hardly moved.",
                "The short one": "Yes. The score is relative to where a vector began.",
                "Both the same": "No, that is what magnitude says: it sees the update only.",
            },
        ),
        Question(
            "All vectors of a model are multiplied by the same rotation, before and after training. What happens to "
            "the scores?",
            {
                "They change, because every number changes": "No. Lengths and the angles between pre and post stay.",
                "Only the part from the angle changes": "No. Both turn together, so the angle between them stays.",
                "Nothing": (
                    "Yes: only lengths and angles enter. (Magnitude, which looks at single numbers, would change.)"
                ),
            },
        ),
    ],
    "02": [
        Question(
            "Somebody tunes only b_k of BERT and gets 74 percent, where the untrained model guesses at 50. What did "
            "the key bias do?",
            {
                "It learned something about the task, 24 points' worth": "No. It cannot change any output.",
                "Nothing: the head, trained along with it, did it all": (
                    'Yes. Compare with "head only", not with guessing.'
                ),
                "Nothing: it must be a mistake in the code": (
                    "No. The head is trained in every method, and it alone can learn much."
                ),
            },
        ),
        Question(
            "You set every value bias of a trained BERT to zero. How can you get the old answers back without "
            "training?",
            {
                "Not at all: information was lost": "No. A constant was lost, and there is another place for it.",
                "Add the old value bias to the output bias": "No. On its way it went through the output projection.",
                "Add W_o times the old value bias to the output bias": (
                    "Yes: it passes attention unchanged, and then the projection."
                ),
            },
        ),
        Question(
            'Can a query bias of BERT make the word "it" look at "dog" and the word "she" look at "girl", in the same '
            "head and sentence?",
            {
                "Yes, if it is long enough": "No. Wherever it points, every query gets the same tilt.",
                "No: it adds the same numbers to every row": (
                    "Yes. Rows can differ only by what W_q makes of the words."
                ),
                "Only in the first layer": "No. In every layer it adds the same to all rows.",
            },
        ),
    ],
    "03": [
        Question(
            'A colleague probes for five steps, gets value 0.006 and query 0.0006, and says: "The value bias is ten '
            'times as important for our task." What do you answer?',
            {
                "Right: ten times the score, ten times the importance": (
                    "No. After five steps of Adam both have moved equally far. The factor says above all that the "
                    "query vectors are longer."
                ),
                "Five steps are too few to choose by": (
                    "No. The choice is often there within a few steps (in long runs it can change again); it is the "
                    "factor that does not mean what it seems to."
                ),
                "Probe on shuffled labels as well, and tune both, before you speak of the task": (
                    "Yes. The control says how much of the score comes from the labels, and tuning says what the "
                    "choice is worth."
                ),
            },
        ),
        Question(
            'Why is "head only" in the table at all?',
            {
                "Because it is the cheapest method": "No. It is cheap, but it is there as the zero point.",
                "To show how much of a result is luck": "No. That is what several seeds and intervals are for.",
                "Because every method trains the head; only the difference to this row is due to the bias": (
                    'Yes. And since the key bias can do nothing, "key" must come out like it.'
                ),
            },
        ),
    ],
    "04": [
        Question(
            'A colleague trains twice as long, and the magnitude of the value bias nearly doubles. "It has become '
            'twice as important." What do you answer?',
            {
                "Right, that is what magnitude measures": (
                    "No. Under Adam, everything that is pulled moves on at the same pace. Query's magnitude has "
                    "nearly doubled as well."
                ),
                "Take importance instead: it does not depend on how long you train": "No. It grows as well.",
                "Compare with the other terms of the same run; the number alone says how long you trained": (
                    "Yes. Terms can be compared within one run, sizes between runs cannot."
                ),
            },
        ),
        Question(
            "Two examples pull a bias with equal force in opposite directions, all through the training. What do the "
            "rulers say?",
            {
                "All say zero: it did not move": "No. Importance and magnitude do. Fisher squares first and adds then.",
                "The per-example Fisher is high; importance, magnitude and the batch mean are about zero": (
                    "Yes. It matters to both examples, and no single bias can please both."
                ),
                "All are high, because the bias matters": "No. What does not move has no importance and no magnitude.",
            },
        ),
        Question(
            "A model fits its training data perfectly and is sure of it. Where does that leave the empirical Fisher?",
            {
                "Near zero: nothing pulls any more": (
                    "Yes: (1 − p)² is tiny for every example. It says the examples are learned, and not that the bias "
                    "does not matter."
                ),
                "At its largest, because the model is trained": (
                    "No. The pull of a label that is no surprise is close to zero."
                ),
                "Undefined: there is no gradient left": "No. Every example still has one; it is merely short.",
            },
        ),
    ],
    "05": [
        Question(
            "A paper reports that tuning b_k reaches 77 % on SST-2 with BERT, and concludes that keys matter. Your "
            "answer?",
            {
                "Compare it with the head alone": (
                    "Yes. On BERT, b_k changes nothing (lesson 02), so this row is the head alone, and says what the "
                    "other rows have to beat."
                ),
                "It needs more seeds": "No. More seeds would only measure the head more precisely.",
                "Keys matter less than values, but they matter": "No. Keys do, their bias does not.",
            },
        ),
        Question(
            "You serve two hundred yes-or-no tasks from one BERT-base. What is the strongest reason for b_v?",
            {
                "Training is a hundred times faster": "No. A step costs about two thirds of a full one.",
                "Two hundred small files, and one base in memory": (
                    "Yes. Storage and switching shrink by thousands, time by a third."
                ),
                "It always scores higher than full fine-tuning": "No. Section 6 has full ahead at 300 examples.",
            },
        ),
    ],
    "06": [
        Question(
            "Two demonstrations double a model's F1 on SQuAD. Which explanation should you test first?",
            {
                "The demonstrations told the model the answers": "No. They are about other stories.",
                "They told it how to answer: compare the lengths of its answers": (
                    "Yes. If the answers got shorter and the facts in them stayed, it was the form."
                ),
                "The model has learned from them, and will keep it": (
                    "No. Nothing in it changed; the next prompt starts anew."
                ),
            },
        ),
        Question(
            "Tuning only b_v of OPT-6.7B takes less than half the memory of tuning all of it. Why not a thousandth?",
            {
                "Adam keeps two averages for every parameter of the model": "No. Only for those that are trained.",
                "The frozen weights and the activations still have to be there": (
                    "Yes. The forward pass needs the first, the backward pass the second."
                ),
                "The biases are kept in float32": "No. That is half a megabyte.",
            },
        ),
    ],
    "07": [
        Question(
            'You load a model whose fused layout you do not know, and guess. How do you find out that your "value '
            'bias" is not one?',
            {
                "The shapes do not fit": "No. Both layouts have the same shapes.",
                "Move it: the attention of its own layer changes": "Yes. A value bias leaves it alone, bit for bit.",
                "The training diverges": "No. It runs as well as any other; only the name of the result is wrong.",
            },
        ),
        Question(
            "A bias-free model, after a probe: query, key and value each have importance 1. What follows?",
            {
                "All three matter equally": "No. The score would be 1 after the smallest move.",
                "The probe was too long, and the score has saturated": "No. It is 1 after the first step already.",
                "That all three moved, and nothing else": (
                    "Yes. To rank them one needs data, or at least another measure."
                ),
            },
        ),
        Question(
            "Which of these can be handed on as a stock Llama, without any library of ours?",
            {
                "Only a tuned b_v, because it folds": (
                    "No. b_q and b_k have a place of their own in Llama, once attention_bias is switched on."
                ),
                "All three: b_v folded, b_q and b_k in their places": (
                    "Yes. In Mistral, which has no such places, it would be none."
                ),
                "None: Llama has no biases": "No. Its configuration can switch them on.",
            },
        ),
    ],
    "08": [
        Question(
            "Your probe gives value .61 on your file and .35 on a colleague's. She says that the value bias matters "
            "more for your task. Your answer?",
            {
                "Yes, if both used the same model": (
                    "No. Steps, learning rate and the size of the file change the score as much."
                ),
                "Scores of two probes cannot be compared; tune it on both, against head only": (
                    "Yes. What it gains there is in a unit that means something."
                ),
                "Yes: .61 is nearly twice .35": "No. A score has no zero and no scale that two probes would share.",
            },
        ),
        Question(
            "With default settings of some library, your probe on a BERT chooses the key bias. What do you look at "
            "first?",
            {
                "The batch size": "No. It makes all gradients noisier or quieter; this one is noise at any size.",
                "Whether more data helps": "No. No data can help a bias that softmax cancels.",
                "The optimizer's eps, weight decay and the number format": (
                    "Yes. On a BERT the key bias is dead, so its score is made of rounding noise or decay."
                ),
            },
        ),
        Question(
            "Tuned b_v scores .74, head only .71, on 100 examples, with one seed. What do you write?",
            {
                "Not shown to be better than head only; it takes more examples or seeds": (
                    "Yes. And add the interval, so that readers see how much better or worse it could be."
                ),
                "b_v improves accuracy by three points": "No. That is three examples of a hundred, and one seed.",
                "b_v and head only are equally good": (
                    "No. That was not shown, either: the interval leaves room for ten points."
                ),
            },
        ),
    ],
    "appendix": [
        Question(
            "A model's loss on fresh texts is 3 percent below the entropy. What happened?",
            {
                "It is a very good model": "No. On average nobody does better than the true probabilities.",
                "The texts were few and easy by chance, or the entropy was computed wrongly": (
                    "Yes. On enough texts it cannot last."
                ),
                "It has more parameters than the grammar": "No. Size does not help against chance.",
            },
        ),
        Question(
            "In the second half of a recap the model pays two nats for each room. What has it not learned?",
            {
                "Which words are rooms": "No. It pays about ln 8, so it knows that a room comes.",
                "To look up whose room it is": "Yes. It treats the room as new, and all eight as equally likely.",
                "The grammar of the sentence": "No. The small words around it would then cost something, too.",
            },
        ),
    ],
}
