"""What an audit's numbers may mean other than what they seem to mean; a gate waits for none."""
