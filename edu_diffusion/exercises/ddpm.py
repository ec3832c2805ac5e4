"""Exercises of lesson ddpm."""

from edu_diffusion.exercises.core import Exercise

EXERCISES: list[Exercise] = []
