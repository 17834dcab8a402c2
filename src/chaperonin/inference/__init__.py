"""Models at work on many inputs: one file for each verb, and the job that all of them are."""
