"""The five kinds of plugin, one file each."""
