"""What the Python programs print: one line when they watch, and one line a reaction."""

import json
import os
from importlib.metadata import version


def ready(package):
    print("ready", version(package), flush=True)


def read(path):
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError:
        return None


def reaction(paths, file):
    """One call of the changed-callback: the paths that it was given."""
    names = sorted(os.path.basename(path) for path in paths)
    named = [read(os.path.join(os.path.dirname(file), name)) for name in names]
    line = {
        "name": ",".join(names),
        "file": read(file),
        "named": named[0] if len(named) == 1 else None,
    }
    print("reaction", json.dumps(line), flush=True)
