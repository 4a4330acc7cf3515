"""Convert a classifier in ONNX to a model file: the path that `attach` and `from_torch` share."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
from onnx import ModelProto

from camrt.errors import CamrtError, UsageError
from camrt.export.convert_head import ConvertedHead, convert_head
from camrt.export.graph.read import Classifier
from camrt.export.graph.write import write_model
from camrt.export.merge_heads import merge_heads
from camrt.export.options import ConversionOptions
from camrt.export.report import Report
from camrt.export.source_metadata.openvino import KEY_PREFIX, model_info_entries
from camrt.export.verify.exported import Forward
from camrt.export.verify.merged import verify_merged
from camrt.model_file import HeadInfo, ModelInfo


def convert(
    classifier: Classifier,
    target: Path,
    options: Sequence[ConversionOptions],
    source_info: Mapping[str, Any],
    *,
    path: Path | None = None,
    forward: Forward | None = None,
) -> Report:
    """Find the heads, rewrite the graph for each, verify it, merge the graphs and write the file.

    Args:
        classifier: a checked classifier; it is not changed.
        target: the file to write.
        options: of the caller, for each head.
        source_info: entries about the source for the metadata.
        path: the classifier's file; the files beside it describe it too. None: it has none.
        forward: the torch module that the classifier was exported from.

    Raises:
        ExportError: the classifier cannot become a model file (`HeadNotFound`: because of a head), the new file
            fails its verification, or it cannot be written.
        UsageError: an option does not fit the classifier.
        MissingExtra: ONNX Runtime is not installed.
    """
    several = len(options) > 1
    heads = []
    for one in options:
        try:
            head = convert_head(classifier, target, one, source_info, several=several, path=path, forward=forward)
        except CamrtError as error:
            if several:
                error.args = (f"head {one.output!r}: {error.args[0]}", *error.args[1:])
            raise
        heads.append(head)
    if not several:
        model, info, report = heads[0].model, heads[0].info, heads[0].report
    else:
        model, info, report = _merge(heads)
    _set_metadata(model, info)
    write_model(model, target)
    return report


def _merge(heads: Sequence[ConvertedHead]) -> tuple[ModelProto, ModelInfo, Report]:
    """Return the model of several heads, its metadata and its report."""
    counts = Counter(head.info.head for head in heads)
    if counts["saliency_map"] > 1:
        names = ", ".join(head.report.output for head in heads if head.info.head == "saliency_map")
        raise UsageError(f"the output saliency_map has the maps of one head only, not of {names}; name one of them")
    first = heads[0]
    models = {head.report.output: head.model for head in heads}
    merged = merge_heads(models)
    verify_merged(merged, models, first.images)
    infos = tuple(_head_info(head) for head in heads)
    info = replace(first.info, heads=infos)
    return merged, info, replace(first.report, heads=tuple(head.report for head in heads))


def _head_info(head: ConvertedHead) -> HeadInfo:
    report = head.report
    return HeadInfo(
        name=report.output,
        classes=report.classes,
        labels=report.labels,
        activation=report.activation,
        head=report.head,
        map_margin=report.map_margin,
        verification=report.verification,
    )


def _set_metadata(model: ModelProto, info: ModelInfo) -> None:
    """Write the metadata. Entries of other tools stay, except OpenVINO's, which describe the source."""
    others = {entry.key: entry.value for entry in model.metadata_props if not entry.key.startswith(KEY_PREFIX)}
    onnx.helper.set_model_props(model, others | model_info_entries(info) | info.to_metadata())
