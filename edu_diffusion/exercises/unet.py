"""Exercises of lesson unet."""

from edu_diffusion.exercises.core import Exercise

EXERCISES: list[Exercise] = []
