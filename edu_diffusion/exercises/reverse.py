"""Exercises of lesson reverse."""

from edu_diffusion.exercises.core import Exercise

EXERCISES: list[Exercise] = []
