"""Licences, attribution and consent signals."""
