"""What the app did, and how long it took, a line each: as text, or as JSON for programs."""

import json
import logging
import time
from typing import Any

from groupcam.language import say
from groupcam.memory import is_out_of_memory

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


def log_accident(text: str, error: Exception) -> str:
    """Log in full what nobody did wrong; return the sentence that its visitor is told."""
    logger.error(text, exc_info=error)
    return say("status.no_memory") if is_out_of_memory(error) else say("status.unexpected")
