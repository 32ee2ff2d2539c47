"""Recognises what went wrong from its symptoms, and gives the cause and one next step.

The table is data: `catalogue/symptoms.toml`, and the `[[symptom]]` of a user's own catalogue.
"""
