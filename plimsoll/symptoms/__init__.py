"""Recognises what went wrong from what can be seen of it, and says the cause and one next step.

The table is data: `catalogue/symptoms.toml`, and the `[[symptom]]` of a user's own catalogue.
"""
