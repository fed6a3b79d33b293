"""The ways that notices travel beyond the page: SMTP, signed webhooks, and whatever else Apprise knows. When what is sent belongs to services."""
