"""Routes of the server: page, streams, API."""

import io
import json
import mimetypes
from pathlib import Path
from typing import Annotated, Final, Literal

import numpy as np
from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel

from camrt import __version__
from camrt.errors import UsageError
from camrt.runtime.frames import StreamItem
from camrt.runtime.record import TOP
from camrt.runtime.serve import schemas, streaming
from camrt.runtime.serve.prometheus import CONTENT_TYPE, metrics
from camrt.runtime.serve.publisher import Publisher, newest_shown
from camrt.runtime.serve.settings import Change, Settings, change, settings_of
from camrt.runtime.serve.snapshots import Snapshots
from camrt.runtime.stream.hub import Hub

_PAGE: Final = Path(__file__).parent / "page"
_PAGES: Final = {"/": "index.html", "/api": "api.html"}
_MOST_TOP: Final = 100

Number = Annotated[int, Query(ge=0, description="Number of the camera, 0 first.")]


def make_app(hub: Hub, publisher: Publisher) -> FastAPI:
    """Return the application, without the access control in front of it."""
    app = FastAPI(
        title="camrt",
        version=__version__,
        description="Live images, results and class activation maps of the cameras.",
        docs_url=None,  # FastAPI's own pages load scripts from other servers
        redoc_url=None,
    )

    async def refuse(_: Request, error: Exception) -> Response:
        return JSONResponse({"detail": str(error)}, 422)

    async def refuse_input(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        # The input is not repeated: Python's JSON reader accepts numbers and characters that cannot be sent back.
        # Field names are sent, escaped.
        reasons = [{key: reason[key] for key in ("type", "loc", "msg")} for reason in error.errors()]
        return Response(json.dumps({"detail": reasons}), 422, media_type="application/json")

    app.add_exception_handler(UsageError, refuse)
    app.add_exception_handler(RequestValidationError, refuse_input)
    _add_page(app)
    _add_streams(app, hub, publisher)
    _add_api(app, hub, publisher)
    return app


def _add_page(app: FastAPI) -> None:
    """Serve the files of the page, read once: no request names a file."""
    paths = {name: path for path, name in _PAGES.items()}
    for file in sorted(_PAGE.iterdir()):
        _add_file(app, paths.get(file.name, f"/{file.name}"), file)


def _add_file(app: FastAPI, path: str, file: Path) -> None:
    content, kind = file.read_bytes(), mimetypes.guess_type(file.name)[0]

    async def serve() -> Response:
        return Response(content, media_type=kind)

    app.add_api_route(path, serve, include_in_schema=False)


def _add_streams(app: FastAPI, hub: Hub, publisher: Publisher) -> None:
    @app.get("/stream", tags=["streams"], response_class=Response)
    async def images(camera: int | Literal["all"] = 0) -> Response:
        """Send JPEG images as they come (multipart/x-mixed-replace); each has its frame's number as a comment.

        ``camera=all`` gives all cameras as a mosaic, without numbers.
        """
        if camera == "all":
            return streaming.images(publisher.mosaic)
        hub.stream(camera)
        return streaming.images(publisher.images[camera])

    @app.get("/events", tags=["streams"], response_class=Response)
    async def events() -> Response:
        """Send server-sent events, each an Event as JSON: the results on the newest images of all cameras."""
        return streaming.events(publisher.events)

    @app.get("/metrics", tags=["monitoring"], response_class=Response)
    def prometheus() -> Response:
        """Return counters in the text format of Prometheus."""
        return Response(metrics(hub, publisher.viewers), media_type=CONTENT_TYPE)

    @app.head("/healthz", include_in_schema=False)
    @app.get("/healthz", tags=["monitoring"])
    async def health() -> Response:
        """Return 200, or 503 with the numbers of the cameras that have stalled, or if the view has. Needs no token.

        A camera without a signal counts as healthy, because camrt reconnects it; see the metric ``camrt_up``.
        """
        # Numbers, not names: the address of a camera is not for clients without a token.
        stalled = [number for number, stream in enumerate(hub.streams) if stream.status().state == "stalled"]
        if stalled or not publisher.alive:
            return JSONResponse({"status": "stalled", "cameras": stalled, "view": not publisher.alive}, 503)
        return JSONResponse({"status": "ok"})


def _add_api(app: FastAPI, hub: Hub, publisher: Publisher) -> None:
    snapshots = Snapshots(len(hub.streams))

    @app.get("/api/state", tags=["api"])
    def state() -> schemas.State:
        """Return model, settings and the state of each camera."""
        return schemas.state(hub, publisher.viewers)

    @app.get("/api/labels", tags=["api"])
    def labels(head: str | None = None) -> list[str]:
        """Return the names of all classes of a head, by number; by default of the shown one."""
        return list(hub.model.labels_of(head))

    @app.get("/api/result", tags=["api"])
    def result(camera: Number = 0, top: Annotated[int, Query(ge=1, le=_MOST_TOP)] = TOP) -> schemas.FrameResult:
        """Return the newest result."""
        return schemas.frame_result(camera, *_newest(hub, camera), top)

    @app.get("/api/snapshot.jpg", tags=["api"], response_class=Response)
    def snapshot(camera: Number = 0) -> Response:
        """Return the image as it is shown now, in full size."""
        item, _ = _newest(hub, camera)
        image = snapshots.jpeg_of(camera, item, hub.settings.current)
        name = f"camrt-{camera}-{item.frame.index}.jpg"
        return Response(image, media_type="image/jpeg", headers=_download(name))

    @app.get("/api/map.npy", tags=["api"], response_class=Response)
    def raw_map(camera: Number = 0, class_id: Annotated[int | None, Query(ge=0)] = None) -> Response:
        """Return a class activation map as a NumPy file; by default that of the class with the best score.

        float32 (h, w) in logits per cell: smoothed over time, as it is drawn, and not normalised.
        """
        item, _ = _newest(hub, camera)
        if item.result is None:
            raise HTTPException(404, f"no map while there is no signal: {item.frame.lost}")
        file = io.BytesIO()
        np.save(file, item.result.cam(class_id), allow_pickle=False)
        name = f"camrt-{camera}-{item.result_index}.npy"
        return Response(file.getvalue(), media_type="application/octet-stream", headers=_download(name))

    @app.get("/api/settings", tags=["api"], response_model=Settings)
    def settings() -> BaseModel:
        """Return the display settings."""
        return settings_of(hub)

    @app.patch("/api/settings", tags=["api"], response_model=Settings)
    def change_settings(request: Change) -> BaseModel:  # type: ignore[valid-type] # made by pydantic.create_model
        """Change display settings, for all viewers and recorders; omitted fields stay."""
        change(hub, request)
        return settings_of(hub)


def _newest(hub: Hub, camera: int) -> tuple[StreamItem, tuple[int, ...]]:
    newest = newest_shown(hub, camera)
    if newest is None:
        raise HTTPException(404, "no frame has come yet")
    return newest


def _download(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"'}
