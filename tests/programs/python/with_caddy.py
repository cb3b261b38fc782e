"""Caddy with --watch: python with_caddy.py CADDY FILE SOCKET

The reaction is Caddy's own log line. What it read is what it then answers on its socket: the driver
asks until the answer is another one than before.
"""

import http.client
import json
import socket
import subprocess
import sys

caddy, file, path = sys.argv[1:]


class Connection(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(path)


def answer():
    connection = Connection("localhost")
    try:
        connection.request("GET", "/")
        return connection.getresponse().read().decode()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


version = subprocess.run([caddy, "version"], stdout=subprocess.PIPE, text=True, check=True).stdout
process = subprocess.Popen([caddy, "run", "--watch", "--config", file], stderr=subprocess.PIPE, text=True)
last = None
for line in process.stderr:
    print(line, end="", file=sys.stderr, flush=True)
    if "watching config file for changes" in line:
        while last is None:
            last = answer()
        print("ready", version.split()[0], flush=True)
    elif "config file changed" in line:
        new = last
        while new is None or new == last:
            new = answer()
        last = new
        print("reaction", json.dumps({"name": "", "file": new, "named": None}), flush=True)
