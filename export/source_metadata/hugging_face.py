"""Hugging Face files beside a classifier: ``preprocessor_config.json`` and ``config.json`` of transformers and timm."""

import math
from pathlib import Path
from typing import Any, Final

from camrt.errors import UsageError
from camrt.export.labels.values import labels_of
from camrt.export.source_metadata.beside import read_json
from camrt.export.source_metadata.statement import Numbers, Statement, crop_to, float_tuple, stated_labels
from camrt.model_file import Activation, Resize

PREPROCESSOR: Final = "preprocessor_config.json"
CONFIG: Final = "config.json"
_BILINEAR: Final = (2, "bilinear")
_FILTERS: Final = {0: "nearest", 1: "Lanczos", 3: "bicubic", 4: "box", 5: "Hamming"}
_WARPED_FROM: Final = 384
"""ConvNeXt's preprocessing stretches images from this size on, instead of cropping them."""


def read_preprocessor(folder: Path) -> Statement | None:
    """Return what ``preprocessor_config.json`` states; None: there is none.

    Network input = (pixel * rescale_factor - image_mean) / image_std, each step where its ``do_`` entry is true or
    missing. Raises: UsageError.
    """
    config = read_json(folder / PREPROCESSOR)
    if not isinstance(config, dict):
        return None
    place = PREPROCESSOR
    scale = float(config.get("rescale_factor", 1 / 255)) if config.get("do_rescale", True) else 1.0
    kind = str(config.get("image_processor_type", config.get("feature_extractor_type", "")))
    # MobileViT's files may hold a mean that it never subtracts
    normalises = config.get("do_normalize", "MobileViT" not in kind) and config.get("image_mean") is not None
    mean = float_tuple(config["image_mean"], f"{place}: image_mean") if normalises else (0.0,)
    std = float_tuple(config.get("image_std", 1.0), f"{place}: image_std") if normalises else (1.0,)
    if config.get("rescale_offset") and config.get("do_rescale", True):
        mean = tuple(number + 1 for number in mean)
    if config.get("include_top") and "EfficientNet" in kind:  # it divides by the deviation twice
        std = tuple(number**2 for number in float_tuple(config.get("image_std", 1.0), f"{place}: image_std"))
    size, resize, notes = _geometry(config)
    return Statement(
        place=place,
        channels="bgr" if config.get("do_flip_channel_order") else "rgb",
        numbers=Numbers(scale, mean, std),
        size=size,
        resize=resize,
        notes=(*notes, *_filter_notes(config.get("resample") if config.get("do_resize", True) else None, place)),
    )


def read_config(folder: Path) -> Statement | None:
    """Return what ``config.json`` of transformers or timm states; None: there is none, or it is of another tool.

    Raises: UsageError.
    """
    try:
        config = read_json(folder / CONFIG)
    except UsageError as error:  # many tools write a file of this name
        return Statement(place=CONFIG, notes=(f"{error}.",))
    if not isinstance(config, dict):
        return None
    timm = config.get("pretrained_cfg", config)
    if isinstance(timm, dict) and "architecture" in config and "mean" in timm and "std" in timm:
        return _timm(config, timm)
    labels = config.get("id2label")
    if not isinstance(labels, (dict, list)):
        return None
    activation: Activation | None = "sigmoid" if config.get("problem_type") == "multi_label_classification" else None
    names = stated_labels(lambda: labels_of(labels, "JSON"), f"{CONFIG}, id2label")
    if names == tuple(f"LABEL_{number}" for number in range(len(labels))):  # transformers' names for classes without
        return None if activation is None else Statement(place=CONFIG, activation=activation)
    return Statement(place=CONFIG, labels=names, activation=activation)


def _geometry(config: dict[str, Any]) -> tuple[tuple[int, int] | None, tuple[Resize, int | None] | None, list[str]]:
    """Return the network's size, the resize, and notes."""
    scaled, crop = _sides(config.get("size")), _sides(config.get("crop_size"))
    crops = bool(config.get("do_center_crop", False)) and crop is not None
    if not config.get("do_resize", True) or scaled is None:
        return (crop[0] if crop and crops else None), None, []
    (width, height), keeps_shape = scaled
    crop_pct = config.get("crop_pct")
    if isinstance(crop_pct, (int, float)) and 0 < crop_pct <= 1:
        side = crop[0] if crop is not None else (width, height)
        if crop is None and min(side) >= _WARPED_FROM:
            return side, ("stretch", None), []
        return side, crop_to(side, int(min(width, height) / crop_pct)), []
    if not crops or crop is None:
        if keeps_shape:
            return None, crop_to((width, height), None), [
                f"{PREPROCESSOR} keeps the frame's aspect ratio and the whole frame, and the network has one size; the "
                "centre is cropped (--resize)."
            ]  # fmt: skip
        return (width, height), ("stretch", None), []
    if not keeps_shape and not isinstance(config.get("size"), int):
        if (width, height) == crop[0]:
            return crop[0], ("stretch", None), []
        return crop[0], crop_to(crop[0], min(width, height)), [
            f"{PREPROCESSOR} stretches frames to {width}x{height} before the crop; here they keep their aspect ratio."
        ]  # fmt: skip
    return crop[0], crop_to(crop[0], min(width, height)), []


def _sides(size: Any) -> tuple[tuple[int, int], bool] | None:
    """Return (width, height), and whether they mean the shorter side only."""
    if isinstance(size, int):
        return (size, size), False
    if isinstance(size, list) and len(size) == 2:
        return (int(size[1]), int(size[0])), False
    if isinstance(size, dict) and isinstance(size.get("height"), int) and isinstance(size.get("width"), int):
        return (size["width"], size["height"]), False
    if isinstance(size, dict) and isinstance(size.get("shortest_edge"), int):
        return (size["shortest_edge"],) * 2, True
    return None


def _timm(config: dict[str, Any], pretrained: dict[str, Any]) -> Statement:
    """Read a config of timm; its ``input_size`` is (channels, height, width)."""
    place = f"{CONFIG} (timm)"
    sides = pretrained.get("input_size")
    size = (int(sides[2]), int(sides[1])) if isinstance(sides, list) and len(sides) == 3 else None
    names = config.get("label_names") or pretrained.get("label_names")
    descriptions = config.get("label_descriptions") or pretrained.get("label_descriptions")
    labels = None if not names else stated_labels(lambda: labels_of(names, "JSON"), f"{place}, label_names")
    if isinstance(labels, tuple) and isinstance(descriptions, dict) and all(name in descriptions for name in labels):
        labels = tuple(str(descriptions[name]) for name in labels)
    crop_pct = float(pretrained.get("crop_pct") or 1.0)
    mode = pretrained.get("crop_mode", "center")
    notes = []
    resize: tuple[Resize, int | None] = ("stretch", None)
    if mode == "center":
        resize = crop_to(size, None if size is None else math.floor(min(size) / crop_pct))
    elif mode == "border":
        resize = ("letterbox", None)
    elif crop_pct < 1:
        notes.append(f"{place} stretches frames and crops {crop_pct:.0%} of the result; here they are stretched only.")
    return Statement(
        place=place,
        channels="rgb",
        numbers=Numbers(1 / 255, float_tuple(pretrained["mean"], place), float_tuple(pretrained["std"], place)),
        size=size,
        resize=resize,
        labels=labels,
        notes=(*notes, *_filter_notes(pretrained.get("interpolation"), place)),
    )


def _filter_notes(resample: Any, place: str) -> list[str]:
    if resample is None or resample in _BILINEAR or resample == "random":
        return []
    return [f"{place} resizes with {_FILTERS.get(resample, resample)} interpolation; this file does not."]
