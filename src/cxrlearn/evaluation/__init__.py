"""Arrays in, numbers out: AUROC, intervals over patients, paired comparison; no files, no torch."""
