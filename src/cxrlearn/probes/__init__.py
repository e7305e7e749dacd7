"""Light heads on frozen features: fitted on train, chosen on validation, saved as plain data."""
