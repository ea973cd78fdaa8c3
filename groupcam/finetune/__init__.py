"""A classifier is trained on, on pictures of which only the salient part is sharp."""
