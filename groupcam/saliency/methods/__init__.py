"""Group-CAM and the methods that it is compared with, one file each, in one registry."""

from groupcam.saliency.methods.registry import METHODS, Maps, Method, Progress

__all__ = ["METHODS", "Maps", "Method", "Progress"]
