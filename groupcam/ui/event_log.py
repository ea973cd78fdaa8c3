"""What the app did, and how long it took, a line each: as text, or as JSON for programs."""

import json
import logging
import time
from typing import Any

logger = logging.getLogger("groupcam.events")


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and the facts of an event."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def log_event(name: str, **facts: Any) -> None:
    """Log what happened; never a picture, a visitor's name or a file's."""
    told = " ".join(f"{key}={value}" for key, value in facts.items())
    logger.info("%s %s", name, told, extra={"facts": {"event": name, **facts}})
