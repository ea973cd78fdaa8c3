"""The page on a tiny network, as tests/ui has it."""

from tests.ui.conftest import one_thread, picture_path, workbench

__all__ = ["one_thread", "picture_path", "workbench"]
