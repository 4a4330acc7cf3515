"""``camrt demo``: run the bundled model on a synthetic camera. Needs no camera, download or display."""

import argparse
import json
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from camrt.cli.common_flags import add_session_flags, open_model, stop_on_signals
from camrt.cli.display_flags import add_display_flags, settings_of
from camrt.cli.messages import say, tell
from camrt.errors import SinkError, UsageError

if TYPE_CHECKING:
    from camrt.images import Image
    from camrt.runtime.frames import Rendered
    from camrt.runtime.inference.model import Model

_OUTPUT = Path("camrt-demo")
_FRAMES = 450  # each class once
# Scenes for evaluation only: the demo shows scene 0, and training starts at one million.
_TEST_SEEDS = range(1, 31)
_VIEWS_PER_ACT = 3
_TILES = 12
_TILE = (320, 240)


def add(commands: Any) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "demo",
        help="run a bundled model on a synthetic camera",
        description=(
            "Draw the class activation map of a bundled model over a synthetic camera: in a window if there is a "
            "display, else into a short video and a contact sheet. Then report how often the model is right and how "
            "often its map points at the object, on scenes that it was not trained on."
        ),
        epilog="example: camrt demo      or, without a window: camrt demo --output camrt-demo",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FOLDER",
        help=f"write demo.mp4 and demo.png there instead of a window (default without a display: {_OUTPUT})",
    )
    parser.add_argument(
        "--frames", type=int, metavar="N", help=f"stop after N frames (default {_FRAMES}; a window runs until q)"
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    add_display_flags(parser)
    add_session_flags(parser)
    parser.set_defaults(run=run, model=None)


def run(args: argparse.Namespace) -> int:
    """Show or write the overlays, then evaluate the model."""
    from camrt.runtime.assets import DEMO_MODEL
    from camrt.runtime.sinks import window_available

    if args.frames is not None and args.frames < 1:
        raise UsageError(f"--frames {args.frames}: at least one")
    args.model = DEMO_MODEL
    model = open_model(args.model, args.provider, args.threads, args.provider_option)
    if args.output is None:
        reason = window_available()
        if reason is None:
            _show(args, model)
            return _evaluate(args, model)
        say(f"no window: {reason}")
        args.output = _OUTPUT
    if not _write(args, model):
        tell("stopped before the model was evaluated")
        return 1
    return _evaluate(args, model)


def _show(args: argparse.Namespace, model: "Model") -> None:
    """Show the synthetic camera in a window until the user closes it."""
    from camrt.runtime.sources.synthetic import SyntheticSource
    from camrt.runtime.stream.live_session import LiveSession
    from camrt.runtime.stream.window_viewer import WindowViewer
    from camrt.synthetic_scene import Scene

    settings = settings_of(args, model, live=True)
    source = SyntheticSource(Scene(seed=0))
    session = LiveSession(model, [source], settings=settings, watched=True, frames=args.frames)
    window = WindowViewer(session.hub, hud=not args.no_hud, tell=say)

    def meanwhile() -> None:
        window.update()
        if window.closed:
            session.stop()

    stop_on_signals(session.stop)
    try:
        (outcome,) = session.run(meanwhile=meanwhile)
    finally:
        window.close()
    if isinstance(outcome, BaseException):
        raise outcome


class _Tiles:
    """A sink that keeps some overlays for the contact sheet."""

    def __init__(self, indices: Collection[int]) -> None:
        self._indices = indices
        self.images: list[Image] = []

    def write(self, rendered: "Rendered", /) -> None:
        if rendered.frame.index in self._indices:
            self.images.append(rendered.image.copy())

    def close(self) -> None:
        """Keep the images."""


def _write(args: argparse.Namespace, model: "Model") -> bool:
    """Write the video and the contact sheet; returns False if the user stopped it."""
    from camrt.runtime.render.contact_sheet import contact_sheet
    from camrt.runtime.render.display_settings import SettingsStore
    from camrt.runtime.render.renderer import Renderer
    from camrt.runtime.sinks import VideoSink
    from camrt.runtime.sinks.images import write_image
    from camrt.runtime.sources.synthetic import SyntheticSource
    from camrt.runtime.stream.pipeline import Pipeline
    from camrt.synthetic_scene import FPS, Scene

    settings = SettingsStore(settings_of(args, model, live=False))
    try:
        args.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SinkError(
            f"{args.output} cannot be created as a folder: {error.strerror}; choose another with -o"
        ) from error
    video, sheet = args.output / "demo.mp4", args.output / "demo.png"
    frames = args.frames or _FRAMES
    source = SyntheticSource(Scene(seed=0), frames=frames, live=False)
    # Spread over the run, each in the middle of its part.
    tiles = _Tiles({(2 * tile + 1) * frames // (2 * _TILES) for tile in range(_TILES)})
    pipeline = Pipeline(
        model,
        source,
        settings,
        renderer=Renderer(hud=not args.no_hud, provider=model.provider, threads=model.spare_threads),
        recorders=[VideoSink(video, fps=FPS, overwrite=True), tiles],
    )
    stop_on_signals(pipeline.stop)
    summary = pipeline.run()
    say(f"{summary.frames} frames in {summary.seconds:.1f} s on {model.provider}")
    say(f"wrote {video}")
    if tiles.images:
        write_image(sheet, contact_sheet(tiles.images, 4, _TILE))
        say(f"wrote {sheet}")
    return not summary.stopped


def _evaluate(args: argparse.Namespace, model: "Model") -> int:
    from camrt.runtime.evaluation.evaluate import evaluate
    from camrt.runtime.evaluation.scenes import labelled_scenes

    scenes = labelled_scenes(_TEST_SEEDS, _VIEWS_PER_ACT)
    found = evaluate(model, scenes, metrics=("top1", "pointing_game"), baselines=())
    accuracy, pointing_game = found.values["top1"], found.values["pointing_game"]
    if args.json:
        output = None if args.output is None else str(args.output)
        report = {"frames": found.images, "accuracy": accuracy, "pointing_game": pointing_game, "output": output}
        print(json.dumps(report))
    else:
        print(f"on {found.images} frames of {len(_TEST_SEEDS)} scenes that it was not trained on:")
        print(f"  right class            {accuracy:6.1%}")
        print(f"  map peak on the object {pointing_game:6.1%}   (pointing game)")
    return 0
