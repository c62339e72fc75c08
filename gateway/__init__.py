"""Disables the telemetry of libraries before any of them is imported.

It is here rather than in an entry point, because all code of this project, in every environment,
imports this package first, and child processes inherit the variables.
"""

import os

os.environ.update(
    {
        # onnxruntime connects to its vendor within a minute; `disable_telemetry_events()` comes too
        # late for the events of its import.
        "ORT_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "DO_NOT_TRACK": "1",
    }
)
