"""Results as HTML and SVG: what the visitor reads. Plain strings, everything that is not ours escaped."""
