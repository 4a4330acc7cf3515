"""Reader of event logs."""

import json


def read_events(path):
    """Return the events of a log, one dictionary a line."""
    return [json.loads(line) for line in path.read_text().splitlines()]
