"""Flags that several commands share, and what they mean to the runtime."""

import argparse
import math
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from camrt.errors import UsageError

if TYPE_CHECKING:
    from camrt.runtime.inference.model import Model
    from camrt.runtime.maps.overlay import OverlayStyle
    from camrt.runtime.render.display_settings import View

_SMOOTH_S = 0.2


def add_session_flags(parser: argparse.ArgumentParser, *, several: bool = False) -> None:
    """Add ``--provider``, its options and ``--threads``; ``several``: the first and the last are lists."""
    provider = parser.add_argument(
        "--provider",
        default="auto",
        help="auto (default) picks the best provider that works here; tensorrt, cuda, openvino, coreml, qnn, xnnpack "
        "or cpu is used or reported as an error, there is no silent fallback",
    )
    parser.add_argument(
        "--provider-option",
        action="append",
        default=[],
        metavar="K=V",
        help="option of the provider as ONNX Runtime names it, for instance device_type=GPU; repeatable",
    )
    threads = parser.add_argument("--threads", type=int, metavar="N", help="threads (default: one a usable core)")
    if several:
        for flag in (provider, threads):
            flag.nargs, flag.default = "+", [flag.default]


def provider_options(entries: Sequence[str]) -> dict[str, str]:
    """Return what ``--provider-option`` asks for. Raises: UsageError: an entry is not ``key=value``, or comes twice."""
    options: dict[str, str] = {}
    for entry in entries:
        key, equals, value = entry.partition("=")
        if not (key and equals):
            raise UsageError(f"--provider-option {entry}: write key=value, as in device_type=GPU")
        if key in options:
            raise UsageError(f"--provider-option {key} is given twice")
        options[key] = value
    return options


def open_model(path: Path, provider: str, threads: int | None, options: Sequence[str]) -> "Model":
    """Open a model as the flags of `add_session_flags` say; OpenCV gets the same number of threads."""
    import cv2

    from camrt.runtime.inference.model import load
    from camrt.runtime.sources.capture import quiet_decoders

    quiet_decoders()
    model = load(path, provider=provider, threads=threads, provider_options=provider_options(options))
    for remark in model.remarks:
        print(f"camrt: {remark}", file=sys.stderr)
    cv2.setNumThreads(model.threads)
    return model


def add_style_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say what is painted and how."""
    group = parser.add_argument_group("overlay")
    group.add_argument("--classes", metavar="A,B", help="explain these side by side: numbers, labels or parts of them")
    group.add_argument("--colormap", default="turbo", help="turbo (default), jet, inferno, magma, viridis, ...")
    group.add_argument("--alpha", type=float, default=0.5, help="share of the colour, 0 to 1 (default 0.5)")
    group.add_argument(
        "--alpha-by-value", action="store_true", help="let the colour grow with the heat; cold areas stay as they are"
    )
    group.add_argument(
        "--threshold", type=float, default=0.0, help="leave the picture as it is where the heat is below, 0 to 1"
    )
    group.add_argument("--boxes", action="store_true", help="draw boxes around the warm regions")
    group.add_argument(
        "--normalize",
        metavar="HOW",
        help="minmax, relu_max, or --normalize=LOW,HIGH: logits per cell of the first and last colour; live also "
        "running, over a range that is remembered (default: minmax, of live streams running)",
    )
    group.add_argument("--no-hud", action="store_true", help="paint the map only, write nothing on the picture")


def style_of(args: argparse.Namespace) -> "OverlayStyle":
    """Return the overlay style that the flags of `add_style_flags` ask for. Raises: UsageError."""
    from camrt.runtime.maps.overlay import Normalization, OverlayStyle

    normalization: Normalization = "minmax"
    value_range = None
    if args.normalize == "relu_max":
        normalization = "relu_max"
    elif args.normalize not in (None, "minmax"):
        try:
            low, high = (float(number) for number in args.normalize.split(","))
        except ValueError:
            raise UsageError(
                f"--normalize {args.normalize}: write minmax, relu_max, or two numbers, as in --normalize=-2,10"
                + (", for what is live also running" if hasattr(args, "smooth") else "")
            ) from None
        normalization, value_range = "range", (low, high)
    return OverlayStyle(
        colormap=args.colormap,
        alpha=args.alpha,
        alpha_by_value=args.alpha_by_value,
        threshold=args.threshold,
        normalization=normalization,
        value_range=value_range,
    )


def add_steady_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that keep the maps of a stream calm."""
    group = parser.add_argument_group("over time")
    group.add_argument(
        "--smooth",
        type=float,
        metavar="SECONDS",
        help=f"draw the mean of the maps over time, of this half-life (default: {_SMOOTH_S:g}, of files 0)",
    )
    group.add_argument(
        "--fade",
        action="store_true",
        help="let the opacity go by the score: what is not believed is not painted",
    )


def view_of(args: argparse.Namespace, model: "Model", *, live: bool) -> "View":
    """Return what the flags of `add_style_flags` and `add_steady_flags` ask for.

    Args:
        args: the flags.
        model: knows the classes.
        live: of a live stream a calm map is the default.

    Raises:
        UsageError: something makes no sense.
    """
    from camrt.runtime.render.display_settings import View

    if args.smooth is not None and not 0.0 <= args.smooth < math.inf:
        raise UsageError(f"--smooth {args.smooth:g}: a half-life in seconds, 0 or more")
    if args.fade and model.info.activation == "none":
        raise UsageError(f"--fade goes by scores from 0 to 1; those of {model.path.name} are logits")
    running = args.normalize == "running" or (args.normalize is None and live)
    style = style_of(argparse.Namespace(**vars(args) | ({"normalize": None} if running else {})))
    smooth_s = args.smooth if args.smooth is not None else _SMOOTH_S if live else 0.0
    classes = classes_of(args, model)
    return View(style, classes, boxes=args.boxes, smooth_s=smooth_s, running_range=running, fade=args.fade)


def stop_on_signals(stop: Callable[[], None]) -> None:
    """Let Ctrl-C and SIGTERM end the work as its own end would: what is begun is finished. A second one interrupts."""

    def handle(number: int, _: object) -> None:
        stop()
        signal.signal(number, signal.default_int_handler)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handle)


def classes_of(args: argparse.Namespace, model: "Model") -> tuple[int, ...]:
    """Return the numbers of the classes in ``--classes``; empty without it. Raises: UsageError."""
    if args.classes is None:
        return ()
    return tuple(model.class_id(name) for name in args.classes.split(","))
