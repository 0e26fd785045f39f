# SPDX-License-Identifier: Apache-2.0
"""What the exit code of a command means."""

from __future__ import annotations

from typing import Final

EXIT_GOOD: Final = 0
EXIT_FAILED: Final = 1
EXIT_REFUSED: Final = 2  # wrong flags, a busy port, an unusable folder: nothing was touched
EXIT_SAID: Final = 3  # between a worker and its parent only: failed, and the line that says why is out
