"""Plots of what runs found: the values first, then as SVG, pgfplots, or by matplotlib."""
