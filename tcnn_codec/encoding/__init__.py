"""From a source of frames to a .tcnn file."""
