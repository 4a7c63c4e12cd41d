"""Everything that a GPU can prove or measure, part by part; see README.md beside this file."""
