"""How fast Group-CAM is on this machine, and whether its fast settings keep the map."""
