"""From a .tcnn file to frames, and what is to be known of it."""
