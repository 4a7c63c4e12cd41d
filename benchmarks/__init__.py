"""Speed, measured as ratios on one machine; not part of the tests."""
