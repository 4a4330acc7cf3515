"""Measure the effect of a finer last stage on answers, scores and time."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from camrt.export.graph.session import open_session, run_session
from camrt.export.graph.synthetic_images import Images
from camrt.interleaved_timing import interleave, median_ratio
from camrt.model_file import SCORES

_ROUNDS: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class FineEffect:
    """The effect on the images of the verification, or on labelled ones."""

    images: int
    kind: str
    """``real``, ``synthetic`` or ``labelled``."""
    same_answer: int
    """Images that get the same best class with both stages."""
    score_change: float
    """Mean change of the coarse stage's best score, absolute."""
    score_change_max: float
    time_ratio: float
    """Time of one image with the finer stage, relative to the coarse one, on this machine's CPU."""
    correct: int | None
    """Labelled images that are right with the finer stage; None: the classes are not known."""
    correct_before: int | None
    """The same with the coarse stage."""

    def record(self) -> Mapping[str, Any]:
        """Return the entries for the metadata."""
        entries = {
            "fine_images": f"{self.images} {self.kind}",
            "fine_same_answer": self.same_answer,
            "fine_score_change": self.score_change,
            "fine_score_change_max": self.score_change_max,
            "fine_time_ratio": self.time_ratio,
        }
        if self.correct is not None:
            entries |= {"fine_correct": self.correct, "fine_correct_before": self.correct_before}
        return entries

    def sentence(self) -> str:
        """Return the effect in words."""
        hint = "; pass --images for real ones" if self.kind == "synthetic" else ""
        accuracy = (
            ""
            if self.correct is None
            else f"{self.correct} of {self.images} answers are right, {self.correct_before} without it; "
        )
        return (
            f"{accuracy}{self.same_answer} of {self.images} {self.kind} images keep their best class, whose score "
            f"changes by {self.score_change:.3f} (at most {self.score_change_max:.3f}); {self.time_ratio:.1f} times "
            f"the time{hint}"
        )


def measure_effect(
    coarse: ModelProto, fine: ModelProto, images: Images, kind: str, truth: NDArray[np.int64] | None
) -> FineEffect:
    """Run both model files on the same images.

    Args:
        coarse: the graph of a model file with the stage as it was.
        fine: the same with the finer stage.
        images: uint8 (N, H, W, 3), BGR, at the network's size.
        kind: of the images: ``real``, ``synthetic`` or ``labelled``.
        truth: (N,), the class of each image; None: unknown.
    """
    before, after = (open_session(model, "the new graph") for model in (coarse, fine))
    first, second = (
        np.concatenate([run_session(session, [SCORES], image[None], "the new graph")[0] for image in images])
        for session in (before, after)
    )
    answers, new_answers = first.argmax(axis=1), second.argmax(axis=1)
    rows = np.arange(len(images))
    changes = np.abs(second[rows, answers] - first[rows, answers])
    seconds = interleave(
        {
            "coarse": lambda: run_session(before, None, images[:1], "the new graph"),
            "fine": lambda: run_session(after, None, images[:1], "the new graph"),
        },
        _ROUNDS,
    )
    return FineEffect(
        images=len(images),
        kind=kind,
        same_answer=int((answers == new_answers).sum()),
        score_change=float(changes.mean()),
        score_change_max=float(changes.max()),
        time_ratio=median_ratio(seconds["fine"], to=seconds["coarse"]),
        correct=None if truth is None else int((new_answers == truth).sum()),
        correct_before=None if truth is None else int((answers == truth).sum()),
    )
