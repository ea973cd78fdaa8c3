"""The page on a tiny network, as tests/ui has it."""

from tests.ui.conftest import choice, one_thread, page, picture_path, workbench

__all__ = ["choice", "one_thread", "page", "picture_path", "workbench"]
