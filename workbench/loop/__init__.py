"""The loop: which rows to ask about, who answers, what it brought and what more answers would bring."""

from .curve import LearningCurve, Outlook, Point, PowerLaw
from .history import Round
from .loop import Loop
from .queries import QUERIES, Candidates, Disagreement, Instability
from .users import Answer, Question, SimulatedUser, User

__all__ = [
    "QUERIES",
    "Answer",
    "Candidates",
    "Disagreement",
    "Instability",
    "LearningCurve",
    "Loop",
    "Outlook",
    "Point",
    "PowerLaw",
    "Question",
    "Round",
    "SimulatedUser",
    "User",
]
