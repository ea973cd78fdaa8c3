"""Results as pictures: heatmaps, overlays and figures. Takes arrays, knows no networks."""
