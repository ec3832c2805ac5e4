"""Exercises of lesson forward."""

from edu_diffusion.exercises.core import Exercise

EXERCISES: list[Exercise] = []
