"""The hosts' volumes: folders of this machine that containers have mounted."""
