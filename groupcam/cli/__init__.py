"""The verbs of the command line, one module each; `groupcam.__main__` has their list."""
