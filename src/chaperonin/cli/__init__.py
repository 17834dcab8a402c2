"""The command: parse, call one verb, print. One file per verb."""
