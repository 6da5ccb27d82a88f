"""The exercises of the appendix on the pocket world."""

from __future__ import annotations

import math

from .checks import Exercise, Value, Wrong

_SENTENCE = Value(
    name="a_sentence",
    task="Put a number in place of the dots: the information in the sentence, in nats, with two decimals.",
    right="The probabilities multiply, so their logarithms add: ln 16 + ln 2 + ln 8 = ln 256.",
    solution=math.log(256),
    tolerance=0.002,
    wrong=(
        Wrong(8.0, "These are bits (logarithms to base 2). In nats it is 8 times ln 2: use `math.log`."),
        Wrong(math.log10(256), "This is the logarithm to base 10. `math.log` is the natural one."),
        Wrong(1 / 256, "This is the probability of the sentence. Its information is minus the logarithm of that."),
        Wrong(-math.log(256), "The sign: information is *minus* log p, and log p is negative."),
        Wrong(math.log(26), "The numbers of options multiply: 16 names times 2 verbs times 8 rooms."),
        Wrong(math.log(16) + math.log(8), "The verb is a choice too, between two: it adds ln 2."),
    ),
)

_FLOOR = Value(
    name="a_floor",
    task="Put the least mean loss in place of the dots, in nats a token, with three decimals.",
    right="Four choices among eight, spread over twenty tokens. No model does better; a perfect one does just that.",
    solution=4 * math.log(8) / 20,
    tolerance=0.001,
    wrong=(
        Wrong(math.log(8), "This is the loss on one of the four open tokens. The mean is over all twenty."),
        Wrong(4 * math.log(8), "This is the loss of the whole text. Divide by its number of tokens."),
        Wrong(4 * 3 / 20, "You counted in bits: log2 of 8 is 3. The loss is in nats, ln 8."),
        Wrong(math.log(8) / 20, "One of the eight words is chosen four times, not once."),
        Wrong(4 * math.log(8) / 16, "The mean is over all tokens, the open ones and those that follow."),
        Wrong(0.0, "The sixteen tokens that follow cost nothing. The four that are drawn, nobody can foresee."),
    ),
)

EXERCISES: tuple[Exercise, ...] = (_SENTENCE, _FLOOR)
