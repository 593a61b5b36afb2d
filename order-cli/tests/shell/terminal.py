"""Runs a command in a terminal of its own, and prints what it shows there.

    terminal.py COLUMNS PROMPT KEYS COMMAND...

When the PROMPT is shown, the KEYS are pressed.
"""

import fcntl
import os
import pty
import select
import struct
import sys
import termios
import time

LIMIT_SECONDS = 60

columns, prompt, keys, command = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4:]
size = struct.pack("HHHH", 50, columns, 0, 0)
child, terminal = pty.fork()
if child == 0:
    fcntl.ioctl(0, termios.TIOCSWINSZ, size)
    os.execvp(command[0], command)
shown = b""
ends = time.monotonic() + LIMIT_SECONDS
while True:
    if time.monotonic() > ends:
        os.kill(child, 9)
        break
    if not select.select([terminal], [], [], 1)[0]:
        continue
    try:
        part = os.read(terminal, 65536)
    except OSError:
        # Nothing holds the terminal any more.
        part = b""
    if not part:
        break
    shown += part
    if keys and prompt.encode() in shown:
        os.write(terminal, keys.encode())
        keys = ""
_, status = os.waitpid(child, 0)
sys.stdout.buffer.write(shown)
sys.exit(os.waitstatus_to_exitcode(status))
