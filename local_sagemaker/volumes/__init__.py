"""The hosts' disks: folders of this machine that containers have mounted."""
