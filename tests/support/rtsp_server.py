"""RTSP camera made of GStreamer. It runs under the system's Python, which has the bindings, and prints its port.

Arguments: the port (0: any free port), width and height in pixels.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402 - the versions must be set first

CAMERA = (
    "( videotestsrc is-live=true {options} ! video/x-raw,width={width},height={height},framerate={rate}/1 {filter}"
    "! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15 ! rtph264pay name=pay0 pt=96 )"
)

port, width, height = sys.argv[1:]
Gst.init(None)
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service(port)
INTERLACED = "! interlace field-pattern=1:1 "
for path, options, rate, filter_ in (
    ("/live", "", 30, ""),
    ("/short", "num-buffers=60", 30, ""),
    ("/interlaced", "", 60, INTERLACED),
):
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(CAMERA.format(options=options, width=width, height=height, rate=rate, filter=filter_))
    server.get_mount_points().add_factory(path, factory)
if Gst.ElementFactory.find("x264enc") is None:
    raise SystemExit("GStreamer has no x264enc")
if not server.attach(None):
    raise SystemExit(f"port {port} is taken")
print(server.get_bound_port(), flush=True)
GLib.timeout_add_seconds(600, lambda: GLib.MainLoop.quit(loop))  # ends the camera even if its test was killed
loop = GLib.MainLoop()
loop.run()
