"""Queries on consents to session renewal."""
