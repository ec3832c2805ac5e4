"""Exercises of lesson start."""

from edu_diffusion.exercises.core import Exercise

EXERCISES: list[Exercise] = []
