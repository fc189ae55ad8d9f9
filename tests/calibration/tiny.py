"""The smallest calibration there is."""

TINY = ("--model", "tiny-1m", "--device", "cpu", "--grid", "tiny", "--max-drift", "9", "--quiet")
