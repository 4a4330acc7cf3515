"""The routes: the page, the streams, the API."""

import io
import json
import mimetypes
from pathlib import Path
from typing import Annotated, Final, Literal

import numpy as np
from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response

from camrt import __version__
from camrt.errors import UsageError
from camrt.runtime.frames import Rendered
from camrt.runtime.serve import schemas, stream
from camrt.runtime.serve.hub import Camera, Hub
from camrt.runtime.serve.metrics import CONTENT_TYPE, metrics
from camrt.runtime.serve.publisher import Publisher, jpeg
from camrt.runtime.serve.settings import Change, Settings, change, settings_of

_PAGE: Final = Path(__file__).parent / "page"
_PAGES: Final = {"/": "index.html", "/api": "api.html"}
_MOST_TOP: Final = 100

Number = Annotated[int, Query(ge=0, description="Number of the camera, 0 first.")]


def make_app(hub: Hub, publisher: Publisher) -> FastAPI:
    """Return the application, without the guard that belongs before it."""
    app = FastAPI(
        title="camrt",
        version=__version__,
        description="What the cameras of this camrt see, and where the classifier looks.",
        docs_url=None,  # FastAPI's own pages load their scripts from elsewhere
        redoc_url=None,
    )

    async def refuse(_: Request, error: Exception) -> Response:
        return JSONResponse({"detail": str(error)}, 422)

    async def refuse_input(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        # What came is not told back: JSON, as Python reads it, holds numbers and characters that cannot be sent. The
        # name of a field can, escaped.
        reasons = [{key: one[key] for key in ("type", "loc", "msg")} for one in error.errors()]
        return Response(json.dumps({"detail": reasons}), 422, media_type="application/json")

    app.add_exception_handler(UsageError, refuse)
    app.add_exception_handler(RequestValidationError, refuse_input)
    _add_page(app)
    _add_streams(app, hub, publisher)
    _add_api(app, hub, publisher)
    return app


def _add_page(app: FastAPI) -> None:
    """Serve the files of the page, read once: nothing in a request names a file."""
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
    async def pictures(camera: int | Literal["all"] = 0) -> Response:
        """JPEG pictures as they come: multipart/x-mixed-replace; each has its frame's number as a comment."""
        if camera == "all":
            return stream.pictures(publisher.mosaic)
        hub.camera(camera)
        return stream.pictures(publisher.pictures[camera])

    @app.get("/events", tags=["streams"], response_class=Response)
    async def events() -> Response:
        """Server-sent events, each with an Event as JSON: what is on the newest pictures of all cameras."""
        return stream.events(publisher.events)

    @app.get("/metrics", tags=["watching over it"], response_class=Response)
    def prometheus() -> Response:
        """Counters in the text format of Prometheus."""
        return Response(metrics(hub, publisher.viewers), media_type=CONTENT_TYPE)

    @app.get("/healthz", tags=["watching over it"])
    def health() -> dict[str, str]:
        """Answer while the process works; needs no token. Whether cameras have a signal is in the metrics."""
        return {"status": "ok"}


def _add_api(app: FastAPI, hub: Hub, publisher: Publisher) -> None:
    @app.get("/api/state", tags=["api"])
    def state() -> schemas.State:
        """Model, settings, and how each camera does."""
        return schemas.state(hub, publisher.viewers)

    @app.get("/api/labels", tags=["api"])
    def labels() -> list[str]:
        """Names of all classes, by number."""
        return list(hub.model.labels)

    @app.get("/api/result", tags=["api"])
    def result(camera: Number = 0, top: Annotated[int, Query(ge=1, le=_MOST_TOP)] = schemas.TOP) -> schemas.Seen:
        """What is seen now."""
        return schemas.seen(camera, _shown(hub.camera(camera)), top)

    @app.get("/api/snapshot.jpg", tags=["api"], response_class=Response)
    def snapshot(camera: Number = 0) -> Response:
        """The picture as it is shown now, in its own size."""
        taken = hub.camera(camera).draw(lambda drawn: (drawn.frame.index, jpeg(drawn.image, drawn.frame.index)))
        if taken is None:
            raise HTTPException(404, "no frame has come yet")
        name = f"camrt-{camera}-{taken[0]}.jpg"
        return Response(taken[1], media_type="image/jpeg", headers=_download(name))

    @app.get("/api/map.npy", tags=["api"], response_class=Response)
    def raw_map(camera: Number = 0, class_id: Annotated[int | None, Query(ge=0)] = None) -> Response:
        """The class activation map, float32 (h, w) in logits per cell, as a NumPy file; of the best one by default."""
        shown = _shown(hub.camera(camera))
        if shown.result is None:
            raise HTTPException(404, f"there is no map while there is no signal: {shown.frame.lost}")
        file = io.BytesIO()
        np.save(file, shown.result.cam(class_id), allow_pickle=False)
        name = f"camrt-{camera}-{shown.result_index}.npy"
        return Response(file.getvalue(), media_type="application/octet-stream", headers=_download(name))

    @app.get("/api/settings", tags=["api"])
    def settings() -> Settings:
        """What is drawn."""
        return settings_of(hub.view)

    @app.patch("/api/settings", tags=["api"])
    def change_settings(wanted: Change) -> Settings:
        """Change what is drawn, for all viewers; what is left out stays."""
        change(hub.view, hub.model, wanted)
        hub.tell()
        return settings_of(hub.view)


def _shown(camera: Camera) -> Rendered:
    shown = camera.described()
    if shown is None:
        raise HTTPException(404, "no frame has come yet")
    return shown


def _download(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"'}
