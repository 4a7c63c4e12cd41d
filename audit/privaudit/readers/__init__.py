"""Files that people have, read with every mistake named."""
