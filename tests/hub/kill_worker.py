"""Pushes and pulls in forked processes that kill themselves at a chosen point. Driven by `test_killed.py`.

One JSON object a line comes in: `{"action": "push", "arguments": {...}, "kill_at": 120}`; without `kill_at` it runs to
its end. One comes out: `{"status": ..., "points": ...}`: the exit status (-9 = killed), how many points.

A point is a call into the operating system that Python tells its audit hooks of (opening, renaming, removing, making
folders, connecting, ...), or one of sending to or receiving from a socket.
"""

import json
import os
import signal
import socket
import sys
import traceback

from transformers.utils import logging

from electra_rtd.hub_tools import pull_checkpoint, push_checkpoint


ACTIONS = {"push": push_checkpoint, "pull": pull_checkpoint}
EVENTS = ("open", "os.", "shutil.", "socket.", "tempfile.")
LETHAL = signal.SIGKILL


class Points:
    """Counts points, and kills this process at one of them."""

    def __init__(self, kill_at):
        self.kill_at = kill_at
        self.count = 0

    def reached(self):
        self.count += 1
        if self.count == self.kill_at:
            os.kill(os.getpid(), LETHAL)

    def watch(self):
        """From here on, count."""
        sys.addaudithook(lambda event, _: self.reached() if event.startswith(EVENTS) else None)
        for name in ("send", "sendall", "recv", "recv_into"):
            setattr(socket.socket, name, self._counted(getattr(socket.socket, name)))

    def _counted(self, function):
        def call(*arguments, **keywords):
            self.reached()
            return function(*arguments, **keywords)

        return call


def run(order):
    """Carry out one order in a process of its own."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        points = Points(order.get("kill_at"))
        status = 1
        try:
            points.watch()
            ACTIONS[order["action"]](**order["arguments"])
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            points.kill_at = None
            os.write(writer, str(points.count).encode())
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader) as counted:
        points = counted.read()
    _, status = os.waitpid(child, 0)
    return {"status": os.waitstatus_to_exitcode(status), "points": int(points or 0)}


if __name__ == "__main__":
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), flush=True)
