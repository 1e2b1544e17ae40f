"""Tracks to characters. A new method is a function like `partition.Method` and one more entry of METHODS."""

from udfs.kernels.clustering.characters import Characters, confidence_of, find_characters
from udfs.kernels.clustering.cut import Cut, find_cut
from udfs.kernels.clustering.hac import average_linkage, average_linkage_twice
from udfs.kernels.clustering.neighbours import drawn_to_neighbours
from udfs.kernels.clustering.partition import Clustering, Method

METHODS: dict[str, Method] = {"hac": average_linkage_twice, "hac_strict": average_linkage}

__all__ = [
    "METHODS",
    "Characters",
    "Clustering",
    "Cut",
    "Method",
    "average_linkage",
    "average_linkage_twice",
    "confidence_of",
    "drawn_to_neighbours",
    "find_characters",
    "find_cut",
]
