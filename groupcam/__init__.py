"""Group-CAM: where an image classifier looks, and why."""
