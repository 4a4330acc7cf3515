"""Live view in a browser. Needs the extra ``serve``: FastAPI and Uvicorn.

    pipelines --Hub--> Publisher --Broadcast--> viewers

The hub keeps the newest item of each stream. The publisher draws and encodes it once for all viewers. The server
sends it to them.
"""

from importlib.util import find_spec

from camrt.errors import MissingExtra

for _name in ("fastapi", "uvicorn"):
    if find_spec(_name) is None:
        raise MissingExtra(f"the browser view needs {_name}, which is not installed: pip install 'camrt[serve]'")

from camrt.runtime.serve.server import Server  # noqa: E402 - needs the extra

__all__ = ["Server"]
