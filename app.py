"""The web app: python app.py [--host HOST] [--port PORT]; GROUPCAM_DEVICE names the device."""

import argparse
import os

# No look-ups of Gradio's own; set before the import, which reads it.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

from groupcam.ui import build_demo, launch_options

DEVICE = os.environ.get("GROUPCAM_DEVICE", "cpu")


def parse_arguments() -> argparse.Namespace:
    """Return the command line's settings; Gradio's own environment variables hold otherwise."""
    parser = argparse.ArgumentParser(description="Start the groupcam page.")
    parser.add_argument("--host", default=None, help="address to serve on (default: this machine)")
    parser.add_argument("--port", type=int, default=None, help="port (default: 7860 or the next)")
    return parser.parse_args()


demo = build_demo(DEVICE)

if __name__ == "__main__":
    arguments = parse_arguments()
    demo.queue(max_size=64).launch(
        server_name=arguments.host, server_port=arguments.port, **launch_options()
    )
