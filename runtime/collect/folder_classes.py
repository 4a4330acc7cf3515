"""Classes and groups of images by the names of their folders."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from camrt.runtime.evaluation.class_matching import match_classes
from camrt.runtime.evaluation.datasets.folder import SPLITS
from camrt.runtime.evaluation.datasets.labelled import Dataset, LabelledImage, Target

_SHOWN: Final = 8


class FolderClasses:
    """The class that each name of a folder stands for.

    The class of an image is the first of its folders, from the input down, whose name is a class of the model; names of
    splits, such as ``train``, are none. The other folders are its group. Numbers are never classes by themselves.
    """

    def __init__(
        self, names: Iterable[str], labels: Sequence[str], synonyms: Mapping[str, tuple[str, ...]], source: str
    ) -> None:
        """Match names of folders with the labels of a model.

        Args:
            names: of all folders of an input.
            labels: of the model.
            synonyms: labels of the model for names, see `camrt.runtime.evaluation.datasets.labelled.Dataset`.
            source: name of the input, for the remarks.
        """
        self._ids: dict[str, tuple[int, ...]] = {}
        unknown: dict[str, str] = {}
        wanted = [name for name in dict.fromkeys(names) if name.lower() not in SPLITS]
        pseudo = [LabelledImage(name, Path(name), (Target(name),)) for name in wanted]
        matching = match_classes(Dataset(source, "folder", pseudo, synonyms=dict(synonyms)), labels)
        for image in pseudo:
            (target,) = image.targets
            if ids := matching.class_ids(target):
                self._ids[target.label] = ids
            else:
                unknown[target.label] = matching.reasons.get(target.label, "the model has no such label")
        self.remarks: list[str] = []
        """One line about the names that are no class of the model."""
        if unknown and self._ids:
            shown = ", ".join(f"{name!r} ({reason})" for name, reason in list(unknown.items())[:_SHOWN])
            more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
            self.remarks.append(f"{source or 'files'}: no class for the folders {shown}{more}; their names are groups")
        elif unknown:
            self.remarks.append(
                f"{source}: no folder is named after a class of the model, so its images have a group and no label"
            )

    @property
    def ids(self) -> Mapping[str, tuple[int, ...]]:
        """Numbers of the model's classes for each name that has any."""
        return self._ids

    def place(self, folders: Sequence[str]) -> tuple[str | None, tuple[int, ...], str | None]:
        """Return label, numbers of the right classes and group of an image by its folders."""
        place = next((place for place, name in enumerate(folders) if name in self._ids), None)
        group = "/".join(name for number, name in enumerate(folders) if number != place) or None
        if place is None:
            return None, (), group
        return folders[place], self._ids[folders[place]], group
