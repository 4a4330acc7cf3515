"""Search a model's answers on labelled images for shortcuts, and prove them by experiments."""

import platform
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from camrt import __version__
from camrt.errors import MissingExtra, UsageError
from camrt.files import file_sha256
from camrt.runtime.audit.baseline import compare, read_baseline
from camrt.runtime.audit.causal import Experiments
from camrt.runtime.audit.duplicates import duplicate_remarks
from camrt.runtime.audit.exchange import ImagePool
from camrt.runtime.audit.finding import Run
from camrt.runtime.audit.grouping_keys import groups_of
from camrt.runtime.audit.groups import group_images
from camrt.runtime.audit.images import image_rows
from camrt.runtime.audit.positions import PARTS, part_shares
from camrt.runtime.audit.regions import REGIONS
from camrt.runtime.audit.result import Audit
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
from camrt.runtime.inference.providers import onnxruntime

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
    group_by: str | None = None,
    baseline: str | Path | None = None,
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
        group_by: compare groups of images: ``folder``, ``exif:TAG``, or a column of the table of labels, see
            `groups_of`; None: no groups.
        baseline: ``report.json`` of an earlier audit, or its folder, to compare with; None: no comparison.

    Raises:
        MissingExtra: scikit-learn (extra ``judge``) is not installed.
        UsageError: an argument is wrong, the model knows no class of the data, or no image can be classified.
        SourceError: the data cannot be read.
    """
    return prove(model, dataset, passes=passes, seed=seed, group_by=group_by, baseline=baseline)[0]


def prove(
    model: Model,
    dataset: str | Path | Dataset | Iterable[LabelledImage],
    *,
    passes: int = PASSES,
    seed: int = 0,
    group_by: str | None = None,
    baseline: str | Path | None = None,
) -> tuple[Audit, list[Proved], Experiments]:
    """Return an audit, its findings with their suspicions, and the experiments, which can go on. See `audit`."""
    if passes < 0:
        raise UsageError(f"passes {passes}: at least 0")
    _check_packages()
    dataset, read = _dataset(model, dataset)
    group_of = None if group_by is None else groups_of(dataset, group_by)
    earlier = None if baseline is None else read_baseline(Path(baseline))
    samples = read()
    rows = image_rows(samples, model.labels)
    if earlier is not None:
        compare(earlier, [], rows, [])  # report errors before the experiments
    remarks = [*samples.remarks, *duplicate_remarks(samples.hashes, samples.contents, samples.classes, samples.names)]
    summaries, observations = summaries_of(samples, model)
    pool = ImagePool(model, samples)
    search = Search(pool, passes, seed)
    selection = Selection(search)
    proved = selection.findings(search.run(_order(samples, [one.class_id for one in summaries])))
    findings = [one.finding for one in proved]
    remarks += search.remarks + selection.remarks + observations
    grouping = comparison = None
    if group_by is not None and group_of is not None:
        grouping = group_images(samples, [group_of(source) for source in samples.sources], group_by, seed)
    if earlier is not None:
        tested = [model.labels[one] for one in search.tested]
        comparison = compare(earlier, [one.as_dict() for one in findings], rows, tested)
    result = Audit(
        model=str(model.path),
        dataset=dataset.name,
        images=len(samples.classes),
        classes=summaries,
        findings=findings,
        tests=search.tests,
        tested_classes=search.classes,
        passes=pool.passes,
        remarks=remarks,
        run=_run(model, seed, passes),
        samples=samples,
        classifier=model,
        grouping=grouping,
        comparison=comparison,
    )
    return result, proved, search.experiments


def _dataset(
    model: Model, data: str | Path | Dataset | Iterable[LabelledImage]
) -> tuple[Dataset, Callable[[], Samples]]:
    """Return the images, and a function that returns their classes and maps."""
    if isinstance(data, (str, Path)) and is_store(Path(data)):
        samples = stored_samples(model, MapStore(data))
        return Dataset(str(data), "folder", samples.sources), lambda: samples
    if isinstance(data, (str, Path)):
        data = read_dataset(data)
    elif not isinstance(data, Dataset):
        data = Dataset("", "folder", list(data))
    dataset = data
    return dataset, lambda: read_samples(model, dataset)


def _run(model: Model, seed: int, passes: int) -> Run:
    versions = {"camrt": __version__, "python": platform.python_version(), "onnxruntime": onnxruntime().__version__}
    for name in ("numpy", "scikit-learn", "scipy"):
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    versions["opencv"] = cv2.__version__
    return Run(file_sha256(model.path), model.provider, model.threads, seed, passes, versions)


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
