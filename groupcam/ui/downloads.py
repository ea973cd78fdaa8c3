"""The downloads of the Explain tab: one click makes a file and hands it over."""

import functools
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from groupcam.errors import GroupCamError
from groupcam.language import say
from groupcam.ui import views
from groupcam.ui.curve_views import MOST_PINNED
from groupcam.ui.event_log import log_accident
from groupcam.ui.exports import EXPORTS, Export, Order, complete, file_name
from groupcam.ui.layout import Layout
from groupcam.ui.run_events import UPDATE_S
from groupcam.ui.runs import Choice, Loading, Run
from groupcam.ui.tabs import PRIVATE
from groupcam.ui.toasts import refusal
from groupcam.ui.turns import Updates
from groupcam.ui.workbench import Workbench, followed

# The browser alone knows what is pinned; the last input is told so.
WITH_PINNED = (
    "(...given) => [...given.slice(0, -1), document.querySelector('.gc-curves').dataset.pinned]"
)
CLICK_FILE = "() => document.querySelector('#gc-file-{kind}').click()"
QUICK: dict[str, Any] = {"concurrency_id": "files", "concurrency_limit": 4}
LONG: dict[str, Any] = {"concurrency_id": "films", "concurrency_limit": 1}

FILE_S = 120.0  # a file that takes longer is given up


class Downloads:
    """Callbacks that make files of a run; none of them runs a network."""

    def __init__(self, workbench: Workbench) -> None:
        self._workbench = workbench

    def wire(self, ui: Layout) -> None:
        """Connect the buttons."""
        self._ui = ui
        for kind, button in ui.downloads.items():
            button.click(
                functools.partial(self.make, kind),
                [
                    *(ui.choice, ui.picture_id, ui.picture_path),
                    *(ui.color_map, ui.opacity, ui.pinned),
                ],
                [ui.files[kind], ui.download_status],
                js=WITH_PINNED,
                **(LONG if EXPORTS[kind].takes_long else QUICK),
                **{
                    **PRIVATE,
                    "show_progress": "minimal",
                    "show_progress_on": ui.download_status,
                },
            ).success(None, None, None, js=CLICK_FILE.format(kind=kind), **PRIVATE)

    def make(
        self,
        kind: str,
        choice: Choice | None,
        picture_id: str | None,
        picture_path: str | None,
        color_map: str,
        opacity: float,
        pinned: str | None,
    ) -> Iterator[Updates]:
        """Make one file, as updates of the page; the last one has the file."""
        export = EXPORTS[kind]
        try:
            run = self._workbench.run_of(choice)
            if run is None or choice is None:
                raise GroupCamError(say("status.no_result"))
            if export.needs_curves:
                complete(run)
            is_shown = picture_path is not None and picture_id == choice.picture_id
            others, missing = self._pinned(pinned, run.run_id) if export.takes_pinned else ((), 0)
            order = Order(
                run=run,
                pinned=others,
                picture_path=Path(str(picture_path)) if is_shown else None,
                color_map=color_map,
                opacity=opacity,
            )
            if export.takes_long:
                begins = say("downloads.begins", file=say(f"downloads.{kind}_file"))
                yield {self._ui.download_status: views.status(begins, "busy")}
            # Gradio has a copy of the file as soon as it is handed over.
            with tempfile.TemporaryDirectory(
                prefix="groupcam-", ignore_cleanup_errors=True
            ) as folder:
                path = Path(folder) / file_name(order, export)
                for text in self._steps(path, order, export):
                    yield {self._ui.download_status: text}
                yield {
                    self._ui.files[kind]: str(path),
                    self._ui.download_status: views.status(
                        _finished_text(path, len(order.pinned), missing), "done"
                    ),
                }
        except GroupCamError as error:
            yield {self._ui.download_status: views.status(str(error), "error")}
            raise refusal(str(error)) from error
        except Exception as error:
            text = log_accident("A file could not be made.", error)
            yield {self._ui.download_status: views.status(text, "error")}
            raise refusal(text) from error

    def _steps(self, path: Path, order: Order, export: Export) -> Iterator[str]:
        """Write the file in a thread and return how far it is; closing stops a film soon."""
        next_report = 0.0
        deadline = time.monotonic() + FILE_S
        for step in followed(lambda progress: export.write(path, order, progress)):
            if time.monotonic() > deadline:  # leaving the loop stops the writing
                raise GroupCamError(say("downloads.too_slow", most=FILE_S))
            if time.monotonic() >= next_report or step.total == 0:
                next_report = time.monotonic() + UPDATE_S
                yield _working_text(step)

    def _pinned(self, given: str | None, present: str) -> tuple[tuple[Run, ...], int]:
        """Return the pinned runs that are still kept, and how many are not.

        Args:
            given: their ids with blanks between them, as anybody may have sent them.
            present: the id of the present run, which is not counted as pinned.
        """
        ids = dict.fromkeys(str(given or "").split())
        if len(ids) > MOST_PINNED or not all(re.fullmatch("[0-9a-f]{20}", one) for one in ids):
            text = say("downloads.bad_pins", most=MOST_PINNED, given=repr(str(given)[:60]))
            raise GroupCamError(text)
        others = [self._workbench.run_with(one) for one in ids if one != present]
        kept = tuple(run for run in others if run is not None and run.curves is not None)
        return kept, len(others) - len(kept)


def _working_text(step: Loading) -> str:
    """Return the status line of a file that is being made."""
    if step.total:
        return views.working_status(step.text, step.done, step.total)
    return views.status(f"{step.text} …", "busy")


def _finished_text(path: Path, pinned: int, missing: int) -> str:
    """Return what is said of a finished file."""
    kilobytes = path.stat().st_size / 1000
    size = f"{kilobytes:.0f} kB" if kilobytes < 1000 else f"{kilobytes / 1000:.1f} MB"
    told = [f"{path.name} ({size})."]
    if pinned == 1:
        told.append(say("downloads.with_pin"))
    elif pinned:
        told.append(say("downloads.with_pins", count=pinned))
    if missing == 1:
        told.append(say("downloads.missing_pin"))
    elif missing:
        told.append(say("downloads.missing_pins", count=missing))
    return " ".join(told)
