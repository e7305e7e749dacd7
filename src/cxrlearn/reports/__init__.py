"""What a run leaves behind: one report, predictions, tables and settings, each written whole."""
