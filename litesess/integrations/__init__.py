"""Integrations with frameworks; an app imports only the modules of its framework."""
