"""Search a model's answers on labelled images for shortcuts, and prove them by experiments."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from camrt.errors import MissingExtra, UsageError
from camrt.runtime.audit.causal import Experiments
from camrt.runtime.audit.duplicates import duplicate_remarks
from camrt.runtime.audit.exchange import ImagePool
from camrt.runtime.audit.finding import Audit
from camrt.runtime.audit.positions import PARTS, part_shares
from camrt.runtime.audit.regions import REGIONS
from camrt.runtime.audit.samples import Samples, read_samples
from camrt.runtime.audit.search import Search
from camrt.runtime.audit.selection import Proved, Selection
from camrt.runtime.audit.stored import stored_samples
from camrt.runtime.audit.summaries import summaries_of
from camrt.runtime.collect.manifest import is_store
from camrt.runtime.collect.store import MapStore
from camrt.runtime.evaluation.datasets.labelled import Dataset, LabelledImage
from camrt.runtime.evaluation.datasets.read import read_dataset
from camrt.runtime.inference.model import Model

KINDS: Final = (*REGIONS, "pattern", "colour", "brightness", "sharpness", "compression")
"""Kinds of findings."""
PASSES: Final = 40_000
"""Forward passes of all experiments, unless another number is given."""


def audit(
    model: Model,
    dataset: str | Path | Dataset | Iterable[LabelledImage],
    *,
    passes: int = PASSES,
    seed: int = 0,
) -> Audit:
    """Search for shortcuts: parts and properties of images that decide, and are not the object.

    Each suspicion is tested by experiments: images of other classes get the evidence, images of the class lose it, and
    the answers that flip are counted against the same change without the evidence. A finding needs both directions, a
    least effect, and a p-value that holds for the number of tests.

    Args:
        model: the model.
        dataset: a folder or a file of annotations (see `read_dataset`), a `Dataset`, labelled images, or a store of
            maps with labels (`camrt.collect`). Boxes and masks state the places of objects; else these are estimated.
        passes: forward passes of the experiments, about 2,500 a class; where it does not suffice for all, the most
            suspicious classes are tested.
        seed: of the choice of images.

    Raises:
        MissingExtra: scikit-learn (extra ``judge``) is not installed.
        UsageError: an argument is wrong, the model knows no class of the data, or no image can be classified.
        SourceError: the data cannot be read.
    """
    return prove(model, dataset, passes, seed)[0]


def prove(
    model: Model, dataset: str | Path | Dataset | Iterable[LabelledImage], passes: int, seed: int
) -> tuple[Audit, list[Proved], Experiments]:
    """Return an audit, its findings with their suspicions, and the experiments, which can go on. See `audit`."""
    if passes < 0:
        raise UsageError(f"passes {passes}: at least 0")
    _check_packages()
    name, samples = _samples(model, dataset)
    remarks = [*samples.remarks, *duplicate_remarks(samples.hashes, samples.contents, samples.classes, samples.names)]
    summaries, observations = summaries_of(samples, model)
    pool = ImagePool(model, samples)
    search = Search(pool, passes, seed)
    selection = Selection(search)
    proved = selection.findings(search.run(_order(samples, [one.class_id for one in summaries])))
    remarks += search.remarks + selection.remarks + observations
    result = Audit(
        model=str(model.path),
        dataset=name,
        images=len(samples.classes),
        classes=summaries,
        findings=[one.finding for one in proved],
        tests=search.tests,
        tested_classes=search.classes,
        passes=pool.passes,
        remarks=remarks,
    )
    return result, proved, search.experiments


def _samples(model: Model, data: str | Path | Dataset | Iterable[LabelledImage]) -> tuple[str, Samples]:
    if isinstance(data, (str, Path)):
        if is_store(Path(data)):
            return str(data), stored_samples(model, MapStore(data))
        data = read_dataset(data)
    elif not isinstance(data, Dataset):
        data = Dataset("", "folder", list(data))
    return data.name, read_samples(model, data)


def _check_packages() -> None:
    try:
        import sklearn  # noqa: F401
    except ImportError as error:
        raise MissingExtra("an audit needs scikit-learn, which is not installed: pip install 'camrt[judge]'") from error


def _order(samples: Samples, class_ids: Sequence[int]) -> list[int]:
    """Return the classes that can be tested, the most suspicious first: those whose maps lie least on the object.

    Without places of objects, as in a store of maps, those whose maps lie least in the centre.
    """

    def suspicion(class_id: int) -> float:
        numbers = samples.of_class(class_id)
        shares = samples.on_object[numbers]
        if np.isfinite(shares).any():
            return float(np.nanmean(shares))
        return float(part_shares(samples.maps[numbers])[:, PARTS.index("centre")].mean())

    return sorted(class_ids, key=suspicion)
