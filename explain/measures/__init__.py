"""Measures of explanations, and of the models behind them: one family a file.

=====================  ============================================================================
regions                how much of a map lies in a region: mass, rank, pointing game, overlap, ROC
wrong_reason           how much of a forbidden region a map lights up (WR)
perturbation           deletion, insertion, AOPC: does the model answer to what is called relevant
text                   ERASER: comprehensiveness, sufficiency: does the model use the tokens
plausibility           ERASER: F1 of tokens and spans, AUPRC: does a person mark the same tokens
sanity                 does the map change when the weights are randomised
swaps                  how often a prediction flips when a region is refilled: asks no map at all
accuracy               accuracy of the worst class
=====================  ============================================================================

Measures of a row that cannot be measured (an empty mask, a map of zeros) are NaN, so that it is
never counted as perfect or as failed: average with ``nanmean``, and say over how many rows.
"""

from .accuracy import worst_class_accuracy
from .fill import Filler, filled
from .perturbation import PerturbationCurve, aopc, deletion, insertion
from .plausibility import area_under_precision_recall, span_f1, token_f1
from .ranks import rank_correlation
from .regions import area_under_roc, mass_on_mask, overlap, pointing_game, rank_in_mask, reason_share
from .sanity import SanityCheck, randomized_weights, sanity_check
from .swaps import swap_sensitivity
from .text import Removal, comprehensiveness, sufficiency, top_tokens
from .wrong_reason import mean_normalised_score, wrong_reason

__all__ = [
    "Filler",
    "PerturbationCurve",
    "Removal",
    "SanityCheck",
    "aopc",
    "area_under_precision_recall",
    "area_under_roc",
    "comprehensiveness",
    "deletion",
    "filled",
    "insertion",
    "mass_on_mask",
    "mean_normalised_score",
    "overlap",
    "pointing_game",
    "randomized_weights",
    "rank_correlation",
    "rank_in_mask",
    "reason_share",
    "sanity_check",
    "span_f1",
    "sufficiency",
    "swap_sensitivity",
    "token_f1",
    "top_tokens",
    "worst_class_accuracy",
    "wrong_reason",
]
