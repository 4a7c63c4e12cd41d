"""Every built-in plugin, one small file each, found through entry points like a stranger's."""
