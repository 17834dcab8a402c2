"""Understand, design and fold proteins with foundation models on the hardware you have."""
