"""Columns of the store, and shards of rows as bytes of Parquet files."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from camrt.errors import MissingExtra
from camrt.text import is_utf8

if TYPE_CHECKING:
    import pyarrow

METADATA: Final = b"camrt"
"""Key of a shard's own data in its metadata: JSON with ``first_row`` and ``chain``."""
_INSTALL: Final = "maps are stored with pyarrow, which is not installed: pip install 'camrt[judge]'"


def arrow() -> Any:
    """Return the package ``pyarrow`` with ``pyarrow.parquet``. Raises: MissingExtra."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtra(_INSTALL) from error
    return pyarrow


def schema() -> "pyarrow.Schema":
    """Return the columns of the store.

    path: of the image as it was found; ``clip.mp4#frame=30`` for a frame of a video, counted from 0.
    sha1: of the file, in hexadecimal digits; of a video's frame that of its pixels.
    width, height: of the upright image in pixels.
    group: folders of the image that are not its class, joined with ``/``.
    label: true class as the data name it, of several the first; null: unknown.
    class_ids, scores: the best classes, best first.
    cam_class: class of the map in ``cam``: the true one (of several right ones that with the highest score), or the
        predicted one where none is known.
    cam: the map without cells that cover only padding, uint8 in rows: ``cam_low + level * (cam_high - cam_low) / 255``.
    cam_shape: rows and columns of all maps of the image.
    cam_low, cam_high: lowest and highest value, in logits per cell.
    cam_score: score of ``cam_class``, which may not be among the best.
    more_cams: maps of the further true classes, and of the predicted class where it is not a true one.
    pooled: mean of each feature map: the input of a linear head; null for other heads.
    boxes: around the warm regions of the map in ``cam``, as `camrt.Result.boxes` gives them.
    error: reason why the image could not be read; null: it was.
    """
    pa = arrow()
    one_map = [
        ("cam_class", pa.int32()),
        ("cam", pa.binary()),
        ("cam_low", pa.float32()),
        ("cam_high", pa.float32()),
        ("cam_score", pa.float32()),
    ]
    box = [("x0", pa.int32()), ("y0", pa.int32()), ("x1", pa.int32()), ("y1", pa.int32()), ("score", pa.float32())]
    return pa.schema(
        [
            ("path", pa.string()),
            ("sha1", pa.string()),
            ("width", pa.int32()),
            ("height", pa.int32()),
            ("group", pa.string()),
            ("label", pa.string()),
            ("class_ids", pa.list_(pa.int32())),
            ("scores", pa.list_(pa.float32())),
            ("cam_class", pa.int32()),
            ("cam", pa.binary()),
            ("cam_shape", pa.list_(pa.int32())),
            ("cam_low", pa.float32()),
            ("cam_high", pa.float32()),
            ("cam_score", pa.float32()),
            ("more_cams", pa.list_(pa.struct(one_map))),
            ("pooled", pa.list_(pa.float16())),
            ("boxes", pa.list_(pa.struct(box))),
            ("error", pa.string()),
        ]
    )


def encode_shard(rows: Sequence[Mapping[str, Any]], own: Mapping[str, Any]) -> bytes:
    """Return rows as the bytes of a Parquet file, the same for the same rows.

    Args:
        rows: values by column; a column that is missing is null.
        own: the shard's own data, for its metadata.
    """
    pa = arrow()
    columns = schema()
    arrays = [pa.array([_storable(row.get(column.name)) for row in rows], column.type) for column in columns]
    table = pa.Table.from_arrays(arrays, schema=columns.with_metadata({METADATA: json.dumps(own).encode()}))
    sink = pa.BufferOutputStream()
    pa.parquet.write_table(table, sink, compression="zstd", use_dictionary=["group", "label", "error"])
    return bytes(sink.getvalue())


def _storable(value: Any) -> Any:
    """Return a value that Parquet holds: bytes of names that are no UTF-8 are written as escape sequences."""
    if isinstance(value, str) and not is_utf8(value):
        return value.encode("utf-8", "backslashreplace").decode()
    return value
