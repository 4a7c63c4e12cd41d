"""What an audit's numbers are and how sure they are: curves, intervals, privacy bounds."""
