"""The command line: parse, call a workflow, render its result."""
