"""What this project reaches beside the tools people use today, measured on the machine it runs on."""
