"""The .tcnn file: its limits, its header and its records. docs/format.md is normative."""
