"""Run a command in a network of its own, where every name leads to this machine, and report what it asks for.

    unshare --net --mount --map-root-user python lonely_network.py SECONDS COMMAND ...

Prints JSON: ``status`` of the command (null: it was ended after SECONDS), ``errors`` (its standard error), ``names``
that it looked up, and ``ports`` that it connected to.
"""

import fcntl
import json
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

_PORTS = (80, 443)


def main(seconds, command):
    _raise_loopback()
    names, ports = set(), set()
    _answer_names(names)
    for port in _PORTS:
        _accept(port, ports)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        errors, status = process.communicate(timeout=seconds)[1], process.returncode
    except subprocess.TimeoutExpired:
        process.terminate()
        errors, status = process.communicate()[1], None
    print(json.dumps({"status": status, "errors": errors, "names": sorted(names), "ports": sorted(ports)}))


def _raise_loopback():
    """Set the flag UP of the loopback interface (SIOCSIFFLAGS)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh14x", b"lo", 1))


def _answer_names(names):
    """Be the name server of this network: each name has the address 127.0.0.1."""
    file = Path(tempfile.mkdtemp()) / "resolv.conf"
    file.write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    subprocess.run(["mount", "--bind", str(file), "/etc/resolv.conf"], check=True)
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 53))

    def answer():
        while True:
            query, client = server.recvfrom(4096)
            end, labels = 12, []
            while query[end]:
                labels.append(query[end + 1 : end + 1 + query[end]].decode("ascii", "replace"))
                end += 1 + query[end]
            names.add(".".join(labels))
            question = query[12 : end + 5]
            wanted = struct.unpack("!H", question[-4:-2])[0]
            record = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 60, 4) + bytes((127, 0, 0, 1)) if wanted == 1 else b""
            head = query[:2] + struct.pack("!5H", 0x8180, 1, bool(record), 0, 0)
            server.sendto(head + question + record, client)

    threading.Thread(target=answer, daemon=True).start()


def _accept(port, ports):
    """Note connections to a port, and close them."""
    server = socket.create_server(("127.0.0.1", port))

    def accept():
        while True:
            connection = server.accept()[0]
            ports.add(port)
            connection.close()

    threading.Thread(target=accept, daemon=True).start()


if __name__ == "__main__":
    main(float(sys.argv[1]), sys.argv[2:])
