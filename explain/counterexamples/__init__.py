"""Counterexamples: the same label with the marked region refilled, so that it betrays nothing.

Each is a frozen setting, called on a batch, its rationale and a generator. As it is, it *replaces*
the rows; inside `Added` it *adds* copies of them.

===============  =================  =====================================================
what is marked   counterexample     refill
===============  =================  =====================================================
pixels, numbers  `Swap`             the same place of another row
pixels, numbers  `OtherClass`       the same place of a row with another label
pixels, numbers  `Grey`             one random constant per row
pixels, numbers  `Noise`            one random number per element
pixels, numbers  `Constant`         a value that is given, or a data set's mean
pixels, numbers  `Mean`             the mean of what is not marked in the row
pixels           `Blur`             the row itself, blurred
tokens           `DropTokens`       nothing: the rest moves up
tokens           `ReplaceTokens`    a token that is given, or random ones
bag of words     `DropWords`        zero, at the row's original norm
===============  =================  =====================================================
"""

from .contract import Added, Counterexample, Refill
from .donors import OtherClass, Swap, lent_regions, swap
from .fillers import Blur, Constant, Grey, Mean, Noise, grey
from .words import DropTokens, DropWords, ReplaceTokens

__all__ = [
    "Added",
    "Blur",
    "Constant",
    "Counterexample",
    "DropTokens",
    "DropWords",
    "Grey",
    "Mean",
    "Noise",
    "OtherClass",
    "Refill",
    "ReplaceTokens",
    "Swap",
    "grey",
    "lent_regions",
    "swap",
]
