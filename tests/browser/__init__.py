"""A package, so that its fixtures of that scope, a server and a hub, end with its last test."""
