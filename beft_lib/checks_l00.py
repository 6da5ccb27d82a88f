"""The exercises of lesson 00."""

from __future__ import annotations

from .checks import Exercise, Value, Wrong

_BIAS_SIZE = Value(
    name="l00_bias_size",
    task="Replace the three dots with a number: how many numbers are in b?",
    right="One number for each number of y. And this is how every check in the course answers.",
    solution=384,
    wrong=(
        Wrong(384 * 384, "That is the size of the matrix W. The bias b is added to W x, so it is as long as y."),
        Wrong(384 * 384 + 384, "That is W and b together. Here only b is asked for: it is as long as y."),
        Wrong(768, "x and y together have 768 numbers. The bias is added to one of them only: to W x, to make y."),
        Wrong(1, "A bias is one number for each output, and y has 384 outputs."),
    ),
)

_STANDARD_ERROR = Value(
    name="l00_standard_error",
    task="Compute the standard error for p = 0.8 and n = 200, and put it in place of the dots.",
    right="About 0.028. Two of them on either side: the 80 percent could well be 75 or 85.",
    solution=(0.8 * 0.2 / 200) ** 0.5,
    tolerance=6e-4,
    wrong=(
        Wrong(0.8 * 0.2 / 200, "This is its square. Take the square root: `** 0.5`."),
        Wrong((0.8 * 0.2) ** 0.5, "You left out the number of sentences: divide by 200 below the root."),
        Wrong((0.8 / 200) ** 0.5, "You left out the factor 1 - p: it is p times (1 - p), 0.8 × 0.2."),
        Wrong(2 * (0.8 * 0.2 / 200) ** 0.5, "These are two standard errors. Here one is asked for."),
        Wrong((80 * 20 / 200) ** 0.5, "That is in percent, in part. Use p = 0.8, not 80."),
        Wrong((0.8 * 0.2) ** 0.5 / 200, "The 200 belongs below the root: the error falls with its square root only."),
    ),
)

EXERCISES: tuple[Exercise, ...] = (_BIAS_SIZE, _STANDARD_ERROR)
