"""What people said about rows: an append-only log of rationales, corrections, verdicts, notes and tags."""

from .columns import token_mask
from .log import Feedback
from .merging import Agreement
from .records import VERDICTS, Record, rationale
from .region import Region, combined
from .regions import FeatureRegion, ImageRegion, TextRegion, as_region

__all__ = [
    "VERDICTS",
    "Agreement",
    "FeatureRegion",
    "Feedback",
    "ImageRegion",
    "Record",
    "Region",
    "TextRegion",
    "as_region",
    "combined",
    "rationale",
    "token_mask",
]
