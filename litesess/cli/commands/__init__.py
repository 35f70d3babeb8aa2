"""The commands, a module each, named after the command."""
