"""The live picture in a browser. Needs the extra ``serve``: FastAPI and Uvicorn.

    pipelines --Hub--> Publisher --Channel--> viewers

A `Hub` keeps the newest result of each camera, the `Publisher` draws and encodes it once for all who watch, and the
`Server` brings it to them.
"""

from importlib.util import find_spec

from camrt.errors import MissingExtra

for _name in ("fastapi", "uvicorn"):
    if find_spec(_name) is None:
        raise MissingExtra(f"the browser view needs {_name}, which is not installed: pip install 'camrt[serve]'")

from camrt.runtime.serve.hub import Hub  # noqa: E402 - needs the extra
from camrt.runtime.serve.server import Server  # noqa: E402

__all__ = ["Hub", "Server"]
