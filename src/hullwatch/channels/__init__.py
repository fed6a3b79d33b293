"""Delivers notices by SMTP, signed webhooks and the services of Apprise."""
